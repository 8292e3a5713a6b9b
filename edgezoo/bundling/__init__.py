"""Bundles: a model with everything that a device needs to run and test it."""
