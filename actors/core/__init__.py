"""The compiled core: the functions that every message goes through, in C, beside their twins in Python."""
