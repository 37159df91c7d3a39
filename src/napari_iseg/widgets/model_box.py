"""The dock's list of models, grouped by method."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.titles import good_at, title_of
from napari_iseg.widgets.dock_parts import SmallLabel

FILES = "Files"  # the group of checkpoints without a card


class ModelBox(QWidget):
    """The list of models under the methods they belong to; those without weights here are grey.

    Signals
    -------
    chosen(object)
        The card, chosen by the user.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[ModelCard | None] = []  # what each row of the list is; None for a heading
        self.combo = QComboBox()
        self.combo.setToolTip("The model that answers clicks. Grey ones are not on this machine yet.")
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(14)
        self.combo.setAccessibleName("Model")
        self.setFocusProxy(self.combo)
        self.about = SmallLabel(rich=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.combo)
        layout.addWidget(self.about)
        self.combo.activated.connect(self._activated)

    @property
    def card(self) -> ModelCard | None:
        """The chosen card."""
        index = self.combo.currentIndex()
        return self._rows[index] if 0 <= index < len(self._rows) else None

    @property
    def local_cards(self) -> list[ModelCard]:
        """Those whose weights are on this machine."""
        return [card for card in self._rows if card is not None and card.is_local]

    @property
    def headings(self) -> list[str]:
        """The methods as they are listed, each with what it is good at."""
        return [self.combo.itemText(row) for row, card in enumerate(self._rows) if card is None]

    def add_file(self, path: Path) -> None:
        """Add a checkpoint file without a card to the list; it is recognised when it is loaded."""
        size = path.stat().st_size if path.is_file() else 0
        card = ModelCard(
            name=str(path),
            backend="",
            variant="",
            title=path.name,
            weights=path.name,
            size_bytes=size,
            folder=path.parent,
        )
        if not any(row is not None and not row.backend for row in self._rows):
            self._add_heading(FILES)
        self._add_card(card, "")

    def set_cards(self, cards: Sequence[ModelCard], how_to_get: Sequence[str]) -> None:
        """Fill the list; the first card that is here becomes the chosen one (without a signal).

        Methods stand in the order of their first card, the cards of a method in the order given.
        """
        self._rows = []
        self.combo.clear()
        hints = dict(zip((card.name for card in cards), how_to_get, strict=True))
        for backend in dict.fromkeys(card.backend for card in cards):
            line = good_at(backend)
            self._add_heading(f"{title_of(backend)}: {line}" if line else title_of(backend))
            for card in cards:
                if card.backend == backend:
                    self._add_card(card, hints[card.name])
        local = [row for row, card in enumerate(self._rows) if card is not None and card.is_local]
        self.combo.setCurrentIndex(local[0] if local else -1)
        self._describe()

    def set_chosen(self, name: str) -> None:
        """Choose a model without a signal."""
        names = [None if card is None else card.name for card in self._rows]
        if name in names:
            self.combo.setCurrentIndex(names.index(name))
            self._describe()

    def _add_heading(self, text: str) -> None:
        heading = QStandardItem(text)
        heading.setFlags(Qt.ItemFlag.NoItemFlags)
        heading.setToolTip(text)
        font = heading.font()
        font.setBold(True)
        heading.setFont(font)
        self._items.appendRow(heading)
        self._rows.append(None)

    def _add_card(self, card: ModelCard, how_to_get: str) -> None:
        item = QStandardItem(f"  {card.title or card.name}")
        item.setEnabled(card.is_local)
        here = card.good_at or card.description
        item.setToolTip(here if card.is_local else f"Not on this machine: {how_to_get}.")
        self._items.appendRow(item)
        self._rows.append(card)

    @property
    def _items(self) -> QStandardItemModel:
        model = self.combo.model()
        assert isinstance(model, QStandardItemModel)
        return model

    def _activated(self, _index: int) -> None:
        self._describe()
        if self.card is not None:
            self.chosen.emit(self.card)

    def _describe(self) -> None:
        card = self.card
        if card is None:
            self.about.setText("No model is on this machine.")
            return
        licence = escape(card.licence)
        if card.licence_url:
            licence = f'<a href="{escape(card.licence_url)}">{licence}</a>'
        size = (
            f"{card.size_bytes / 1e6:.0f} MB" if card.size_bytes >= 1e6 else f"{card.size_bytes / 1e6:.1f} MB"
        )
        facts = " · ".join(part for part in (licence, size) if part)
        best = escape(card.good_at or good_at(card.backend))
        self.about.setText("<br>".join(part for part in (facts, f"Good at: {best}" if best else "") if part))
        self.about.setToolTip(card.description or card.name)
