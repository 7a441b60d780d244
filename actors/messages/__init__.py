"""The vocabulary of processes, and their handles: reasons, errors, signals, refs, requests."""
