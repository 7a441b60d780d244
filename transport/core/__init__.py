"""The ways of a plain frame into a batch and out of one, in C."""
