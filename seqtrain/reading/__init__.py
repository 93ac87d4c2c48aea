"""The user's files: tables, dates, encodings, splits."""
