"""What it takes to run Slipway: the embedded stack, the deployment of the jobs, production notes."""
