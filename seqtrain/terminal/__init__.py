"""The terminal: progress bars and the standard streams."""
