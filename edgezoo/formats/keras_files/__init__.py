"""Keras files of a user: looked at as data first, loaded only where nothing in them is code."""
