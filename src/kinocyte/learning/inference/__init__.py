"""Trained networks applied to images of any size, tile by tile, and the reading of what they say."""
