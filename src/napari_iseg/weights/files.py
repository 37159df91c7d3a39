"""The former place of `napari_iseg.files`."""

from napari_iseg.files import replacing, write_text

__all__ = ["replacing", "write_text"]
