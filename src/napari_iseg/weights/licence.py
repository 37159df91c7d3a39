"""Licences of other people's weights: shown, accepted once, remembered with the date."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from napari_iseg.backends.cards import ModelCard
from napari_iseg.errors import FetchError
from napari_iseg.files import write_text

Ask = Callable[[str], bool]


class Licences:
    """The acceptances recorded in ``home / "licences.json"``: licence -> date, url, first model."""

    def __init__(self, home: Path) -> None:
        self._path = home / "licences.json"

    def accepted(self) -> dict[str, dict[str, str]]:
        """What was accepted so far."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            raise FetchError(
                f"{self._path} cannot be read; mend or delete it, then accept the licence again."
            ) from None
        return found if isinstance(found, dict) else {}

    def require(self, card: ModelCard, *, accept: bool = False, ask: Ask | None = None) -> None:
        """Make sure that the licence of ``card`` was accepted, now or before.

        Parameters
        ----------
        accept : the user has said yes already (``--accept-licence``)
        ask : shows a text and returns the user's answer; None where nobody can be asked

        Raises
        ------
        FetchError
            Not accepted.
        """
        known = self.accepted()
        key = f"{card.licence} {card.licence_url}".strip()
        if key in known:
            return
        text = notice(card)
        if not (accept or (ask is not None and ask(text))):
            raise FetchError(f"{text} Nothing was downloaded; add --accept-licence if you accept it.")
        known[key] = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "url": card.licence_url,
            "model": card.name,
        }
        write_text(self._path, json.dumps(known, indent=2) + "\n")


def notice(card: ModelCard) -> str:
    """One line that names the licence of a card's weights and where to read it."""
    where = f" ({card.licence_url})" if card.licence_url else ""
    return f"The weights of {card.name} are published under: {card.licence}{where}."
