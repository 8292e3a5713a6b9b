"""Accuracy on labelled images, and the agreement of two files."""
