"""What differs between conditions, with replicates respected."""
