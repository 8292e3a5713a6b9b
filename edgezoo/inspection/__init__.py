"""What is in a file, what this machine has, what a compiler makes of a file."""
