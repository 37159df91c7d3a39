"""Committed objects: the label store, the journal, export."""
