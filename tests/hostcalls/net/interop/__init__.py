"""Guests and programs that nobody here wrote, over real sockets of the loopback interface."""
