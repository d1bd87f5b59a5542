"""Movies in plain files, without an experiment: what `kinocyte drift`, `kinocyte channels` and the window share."""
