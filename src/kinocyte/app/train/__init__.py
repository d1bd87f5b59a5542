"""Training in the application: data, checks, live curves, and what to annotate next."""
