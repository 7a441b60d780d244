"""Mutants: faults made on purpose, one at a time, that the tests must find."""
