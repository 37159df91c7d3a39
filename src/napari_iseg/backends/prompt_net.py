"""Click networks that encode a picture once and then answer prompts in milliseconds."""

from __future__ import annotations

from torch import Tensor

from napari_iseg.backends.base import ClickNet


class PromptNet(ClickNet):
    """A network in two parts: ``encode`` sees the picture, ``decode`` the prompts.

    Attributes
    ----------
    side : int
        Pixels of the square that pictures are resized into, see `napari_iseg.nn.square_frame.SquareFrame`.
    low : int
        Side of the logits, which are coarser than the square.
    """

    side: int
    low: int
    training_methods = ("encode", "decode")

    def encode(self, picture: Tensor) -> Tensor:
        """Embedding (B, E, G, G) of pictures (B, 3, rows, cols), RGB in [0, 1], at most ``side`` a side."""
        raise NotImplementedError

    def decode(
        self,
        embedding: Tensor,
        points: Tensor,
        labels: Tensor,
        boxes: Tensor | None = None,
        memory: Tensor | None = None,
        *,
        several: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Masks for prompts, all in pixels of the square, (x, y).

        Parameters
        ----------
        embedding : (B, E, G, G), of ``encode``
        points : (B, N, 2) float; N may be 0 if there are boxes
        labels : (B, N), 1 on the object, 0 beside it, -1 for a row that is unused
        boxes : (B, 4) x0, y0, x1, y1, or None
        memory : (B, 1, low, low) logits of an earlier answer, or None
        several : three masks, for a prompt that may mean part or whole, instead of one

        Returns
        -------
        logits : (B, 3 or 1, low, low)
        quality : (B, 3 or 1) the IoU that the network expects of each
        """
        raise NotImplementedError
