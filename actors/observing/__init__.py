"""Observation: what a node tells those who look at it. See `docs/reference/events.md`."""
