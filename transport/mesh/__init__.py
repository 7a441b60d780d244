"""The mesh: node links between machines, over NATS servers."""
