"""Simulated NATS servers, no better than real ones: below `transport.mesh.connection` in a simulation."""
