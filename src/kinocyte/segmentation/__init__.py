"""Images in, label images out."""
