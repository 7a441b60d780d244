"""Network conformance: the cases of the guest ABI's network, a file for each section."""
