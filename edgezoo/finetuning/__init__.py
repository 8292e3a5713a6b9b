"""Transfer learning: a network of the zoo, or one's own, learns the classes of a folder."""
