"""The dock and what belongs to it: the only room that knows napari and Qt."""
