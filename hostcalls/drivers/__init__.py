"""The drivers: what stands behind the hostcalls of the catalogue."""
