"""What carries the topics to where people read them."""
