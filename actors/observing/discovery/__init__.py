"""Discovery: how an observer finds the running nodes of its user, and how a node without a door is found."""
