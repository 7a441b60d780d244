"""Other nodes: refs, calls and errors that travel between them."""
