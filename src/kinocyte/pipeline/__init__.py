"""From a declaration to finished tables."""
