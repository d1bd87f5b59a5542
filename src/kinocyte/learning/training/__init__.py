"""Training of networks for images: the loop, its checkpoints, its record."""
