"""The parts that all durable steps share: retries, persistence, attempts, artifacts."""
