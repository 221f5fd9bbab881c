"""The late lane: what happens to events that came too late for the workers' memory of ids."""
