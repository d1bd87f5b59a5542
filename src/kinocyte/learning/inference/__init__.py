"""Trained networks applied to images: exact tiles, calibration, test-time augmentation, sequences of frames."""
