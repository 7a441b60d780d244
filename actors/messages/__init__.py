"""What processes say to one another, and to whom: reasons, errors, signals, refs, requests."""
