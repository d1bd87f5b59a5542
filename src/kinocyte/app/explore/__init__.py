"""Looking at tables and figures of an experiment: queries, plots linked with the image, comparisons, export."""
