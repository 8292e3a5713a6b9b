"""Keras files of a user: first read as data, and loaded only if they contain no code."""
