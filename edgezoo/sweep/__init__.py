"""Sweeps: a grid of variants is exported, scored and measured into a results store."""
