"""Models that other programs made: BioImage.IO packages, StarDist on Keras, Cellpose, starshape."""
