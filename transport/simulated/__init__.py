"""A network between the hosts of a simulation: every batch is an event, and every fault is made on demand."""
