"""Keras networks: the catalogue, arguments, weights, building, networks of users."""
