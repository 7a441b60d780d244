"""Worker nodes: more processors for actors that compute."""
