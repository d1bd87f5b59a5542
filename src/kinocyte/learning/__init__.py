"""Data sets, networks, training and model packages."""
