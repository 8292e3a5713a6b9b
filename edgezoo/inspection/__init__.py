"""What a file contains, what this machine has, what a compiler makes of a file."""
