"""Other programs with the same workloads, each in a process of its own."""
