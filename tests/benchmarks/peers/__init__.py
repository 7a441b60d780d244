"""What others do with the same work: one file a peer, each function one benchmark."""
