"""Who gets what on a node: see `router`."""
