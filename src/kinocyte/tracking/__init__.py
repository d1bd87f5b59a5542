"""Objects in, links and tracks out."""
