"""What `verify` compares, one file a kind of check. Each yields differences; none repairs."""
