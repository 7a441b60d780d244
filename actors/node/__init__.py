"""The node: where processes live."""
