"""Quality of a training: verdicts on loss curves, sensitivity, and which frames to annotate next."""
