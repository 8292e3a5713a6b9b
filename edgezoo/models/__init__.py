"""The zoo as data: one file per family, which ends in `SPECS`; names with "_" are skipped."""
