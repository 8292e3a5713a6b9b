"""The zoo as data: one file a family, each ending in `SPECS`; names with "_" are no families."""
