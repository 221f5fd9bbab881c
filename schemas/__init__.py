"""What travels and what it means: pure declarations, no input or output."""
