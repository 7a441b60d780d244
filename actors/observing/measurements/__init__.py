"""Measurements of a node: its numbers, its vital signs, and counts that are taken while somebody looks."""
