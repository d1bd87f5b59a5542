"""Drift and channel alignment."""
