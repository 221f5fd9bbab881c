"""Prices as people write, read and check them; what an edit would change; one event explained."""
