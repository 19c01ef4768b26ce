"""Jobs, one per file: the card first, then the steps, in the order of a runbook."""
