"""Correcting what segmentation, tracking and events found; every change goes through the journal of the position."""
