"""The stream worker: from usage events to exact, priced, counted rows."""
