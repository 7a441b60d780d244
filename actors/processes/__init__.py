"""Processes: how one begins, what runs it, what reaches it, how it ends."""
