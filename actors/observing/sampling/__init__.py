"""The sampler: who holds the loop, by looking at random moments."""
