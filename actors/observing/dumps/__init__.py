"""Dumps: the state of a node at one moment, written at a command, at a signal, or at a crash."""
