"""The workflow host on a Temporal server: `connection` leads there, `worker` works."""
