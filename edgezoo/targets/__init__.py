"""One file per target (or family of targets), found by the registry."""
