"""The control socket: how the `perdure` command looks into a live node and steers it."""
