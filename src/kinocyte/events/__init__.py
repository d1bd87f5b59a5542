"""What each cell did and when."""
