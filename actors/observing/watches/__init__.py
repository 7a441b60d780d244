"""Watches: the processes that show views to observers, and the client that puts their updates together."""
