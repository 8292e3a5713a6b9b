"""Transfer learning: trains a network of the zoo or a user model on the classes of a folder."""
