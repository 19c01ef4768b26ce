"""Who asks, and what they may: looked at before any door is reached."""
