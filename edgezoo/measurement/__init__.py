"""Latency and memory of artifacts: protocol, measuring child, host health, statistics, verdicts."""
