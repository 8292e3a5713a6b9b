"""One file a runtime: an artifact on disk becomes a session. Files with "_" are shared pieces."""
