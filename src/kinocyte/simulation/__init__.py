"""Movies and assays with exact ground truth."""
