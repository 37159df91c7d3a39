"""Weights: cards found, files fetched, imported, recognised, read safely and verified."""
