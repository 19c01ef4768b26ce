"""What the durable steps share: retries, persistence, attempts, artifacts."""
