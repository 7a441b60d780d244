"""Supervision: which process restarts which."""
