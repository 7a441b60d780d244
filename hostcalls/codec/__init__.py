"""How values lie in a guest's memory."""
