"""The napari application."""
