"""What a service imports: the emitter and what feeds it."""
