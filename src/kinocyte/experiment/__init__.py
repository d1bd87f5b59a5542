"""The plate on disk."""
