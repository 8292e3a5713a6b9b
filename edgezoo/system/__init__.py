"""The machine and its processes: children, sandbox, staged files, downloads, remote devices."""
