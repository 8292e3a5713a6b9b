"""What everything else stands on: facts, contracts, errors, the registry. No heavy imports."""
