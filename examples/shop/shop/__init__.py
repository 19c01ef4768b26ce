"""An ordinary small web shop."""
