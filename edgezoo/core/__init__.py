"""The base of all other packages: specs, contracts, errors, the registry. No heavy imports."""
