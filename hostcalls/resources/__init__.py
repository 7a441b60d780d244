"""The resources that guests can hold."""
