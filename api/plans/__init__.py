"""Plans as people write, read and compare them."""
