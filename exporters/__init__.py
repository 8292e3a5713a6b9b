"""One file a format: the only place that knows a converter. Files with "_" are shared pieces."""
