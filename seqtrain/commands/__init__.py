"""What a command does: one file a mode, and what the modes share."""
