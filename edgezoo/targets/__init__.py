"""One file a target (or a family of them), found by the registry."""
