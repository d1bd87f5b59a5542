"""Files of microscopes and of other programs, in and out."""
