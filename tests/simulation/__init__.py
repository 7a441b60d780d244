"""Whole systems in one process, in virtual time, under faults."""
