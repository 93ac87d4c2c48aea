"""Codecs: turn values (texts, labels, windows of series) into arrays, and back."""
