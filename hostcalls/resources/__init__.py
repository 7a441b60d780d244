"""What a guest can hold."""
