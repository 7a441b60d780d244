"""The layout of values in a guest's memory."""
