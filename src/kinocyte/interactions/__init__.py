"""Neighbourhoods and pairs."""
