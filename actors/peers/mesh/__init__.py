"""The mesh, as the actors of a node use it."""
