"""The benchmark suite: our figures beside each peer's, on the same machine, in the same run."""
