"""Real servers for tests and benchmarks: given, in Docker, or on this machine without it."""
