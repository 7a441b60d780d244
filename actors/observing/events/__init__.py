"""Events of a node: the records, what makes them of what happens, and who is told."""
