"""Images of any kind as lazily read RGB planes."""

from napari_iseg.images.source import PlaneSource

__all__ = ["PlaneSource"]
