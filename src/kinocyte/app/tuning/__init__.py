"""Finding the parameters of a step from a few annotations made in the window."""
