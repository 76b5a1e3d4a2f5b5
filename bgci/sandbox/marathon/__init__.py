"""Marathon v2 as of 1.8 and later: instances that outlive their tasks."""
