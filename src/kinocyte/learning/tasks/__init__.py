"""What can be learnt from images: each task is one method, with its network, its loss and the reading of its output."""
