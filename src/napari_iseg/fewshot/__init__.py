"""A few annotated slices or tiles, and the rest of the volume or scene from them."""
