"""One file per program or library that opens our files, found by the registry."""
