"""The words of the observation protocol: views, columns and matches, and the updates that answer them."""
