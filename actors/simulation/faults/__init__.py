"""Faults: their kinds, and schedules of them by hand, by seed and by hypothesis."""
