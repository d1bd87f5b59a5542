"""Networks that read signals of single cells over time and tell whether, and when, something happened."""
