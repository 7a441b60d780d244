"""The kernel, which runs guests with everything that belongs to them."""
