"""Label images and intensities in, one row an object out."""
