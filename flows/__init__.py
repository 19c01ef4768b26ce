"""Jobs, one a file: the card on top, the steps below, read like a runbook."""
