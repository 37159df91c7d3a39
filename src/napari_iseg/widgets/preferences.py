"""What the user set in Preferences > Plugins > napari-iseg, as one plain value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs


@dataclass(frozen=True)
class Preferences:
    """Settings of the click dock; the defaults are those of the manifest.

    Attributes
    ----------
    device, precision : how models run, "auto" or a name that `load_model` takes
    preload : whether the chosen model is loaded before the first click
    cache_folder : where models are kept; None for the default of this user account
    autosave_folder : where clicks are recorded; None for the default of this user account
    keep_embeddings : whether what a model like SAM has seen of an image is kept on disk for the next time
    embeddings_gb : space for that, in GB; what was not used for longest goes first
    background_modifier : the key that turns a click into a background click
    """

    device: str = "auto"
    precision: str = "auto"
    preload: bool = True
    cache_folder: Path | None = None
    autosave_folder: Path | None = None
    keep_embeddings: bool = False
    embeddings_gb: float = 2.0
    background_modifier: str = "Control"

    @property
    def journal_folder(self) -> Path:
        """Where clicks are recorded: the chosen folder, else one in this account's data."""
        if self.autosave_folder is not None:
            return self.autosave_folder
        return Path(platformdirs.user_data_dir("napari-iseg", appauthor=False)) / "sessions"

    @property
    def fewshot_folder(self) -> Path:
        """Where few-shot results are written: in the chosen folder, else beside the sessions."""
        inside = self.autosave_folder if self.autosave_folder is not None else self.journal_folder.parent
        return inside / "fewshot"

    @property
    def embedding_bytes(self) -> int:
        """Bytes of embeddings on disk; 0 where none are kept."""
        return int(self.embeddings_gb * 10**9) if self.keep_embeddings else 0

    @classmethod
    def read(cls) -> Preferences:
        """The stored settings; the defaults where napari has no plugin settings or no manifest of ours."""
        stored = _stored()
        if stored is None:
            return cls()
        return cls(
            device=stored.computing.device,
            precision=stored.computing.precision,
            preload=stored.computing.preload,
            cache_folder=_folder(stored.files.cache_folder),
            autosave_folder=_folder(stored.files.autosave_folder),
            keep_embeddings=stored.files.keep_embeddings,
            embeddings_gb=stored.files.embeddings_gb,
            background_modifier=stored.mouse.background_modifier,
        )


def follow_preferences(changed: Callable[[Any], None]) -> Callable[[], None]:
    """Have a method called (with napari's event) when the user changes a preference.

    Returns
    -------
    Callable
        Ends that.
    """
    stored = _stored()
    if stored is None:
        return lambda: None
    stored.events.changed.connect(changed)
    return lambda: stored.events.changed.disconnect(changed)


def _stored() -> Any:
    """napari's settings of this plugin; None where there are none."""
    try:
        from napari.settings import get_plugin_settings

        return get_plugin_settings("napari-iseg")
    except (ImportError, KeyError, ValueError, AttributeError):
        # napari before 0.9 has no plugin settings; a source tree that is not installed has no manifest
        return None


def _folder(text: str) -> Path | None:
    return Path(text).expanduser() if text.strip() else None
