"""Readers of microscope files and the import of movies into an experiment."""
