"""Who may what, as it is kept in Slipway's own store."""
