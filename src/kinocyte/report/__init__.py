"""Figures, overlays and the report page."""
