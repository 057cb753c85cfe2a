"""The workflow host on a journal: a run is its history, and `replay` brings it back."""
