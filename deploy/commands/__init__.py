"""One file a command, or a group of them. What is heavy is imported when the command runs."""
