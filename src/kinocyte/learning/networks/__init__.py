"""Networks for images, in plain torch, for two and three dimensions and any number of channels."""
