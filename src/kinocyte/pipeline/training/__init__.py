"""Training on images: the training file, the checks before it, the run, and what to annotate next."""
