"""What networks learn from: pairs of images, their checks, their split, normalisation, augmentation and patches."""
