"""What we do with the same work: one file a group of benchmarks."""
