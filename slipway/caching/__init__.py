"""Cache headers, and purging with proof."""
