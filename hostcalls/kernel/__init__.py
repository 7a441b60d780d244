"""What runs guests and all that belongs to them."""
