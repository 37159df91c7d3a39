"""What the networks of all methods have in common: how they are called and load published weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from napari_iseg.errors import CheckpointError


class PublishedNet(nn.Module):
    """A network of a published method: it loads the authors' checkpoints by their key names."""

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load the authors' state dict, strictly, by their key names.

        Raises
        ------
        CheckpointError
            A damaged or foreign state dict, or a network of our own, of which nobody published one.
        """
        del state
        raise CheckpointError(
            f"{type(self).__name__} is a network of our own and no published checkpoint is of its kind; load "
            "its weights with load_model, or by their own names with load_state_dict."
        )

    def published_names(self) -> dict[str, str]:
        """Own state-dict key -> key of the published checkpoint (identity where they are equal)."""
        return {key: key for key in self.state_dict()}


class ClickNet(PublishedNet):
    """A network that turns an image, a previous mask and clicks into a mask."""

    def forward(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> Tensor:
        """Mask logits.

        Parameters
        ----------
        image : (B, 3, H, W) float, RGB in [0, 1]
        prev_mask : (B, 1, H, W) float, probability in [0, 1]; zeros when there is none
        clicks : (B, 2N, 3) float, rows (row, col, order) in pixels of ``image``: N positive, then N
            negative; unused rows are -1

        Returns
        -------
        (B, 1, H, W) float32 logits
        """
        raise NotImplementedError

    def scored(self, image: Tensor, prev_mask: Tensor, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and, per sample, how good the network believes its mask to be: (B,) in [0, 1].

        A network without such a head answers with its mean certainty over the predicted object.
        """
        logits = self(image, prev_mask, clicks)
        probability = logits.sigmoid()
        inside = (probability > 0.5).float()
        certain = (2 * probability - 1).abs()
        return logits, (certain * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)

    def prepare(self, height: int, width: int) -> None:
        """Do once per input size what need not be done per click (position tables, kernels)."""
