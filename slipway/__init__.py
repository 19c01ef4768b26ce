"""The core of Slipway: runs without Prefect and without FastAPI."""
