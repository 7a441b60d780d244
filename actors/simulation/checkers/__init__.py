"""Checkers: what the history of a world, and what is left of it, must look like."""
