"""What one can do in the click dock: one table from which buttons, keys, tooltips and help are made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Action:
    """One thing to do.

    Attributes
    ----------
    name : the controller's name for it
    text : what the button says
    key : napari's notation of the key, or "" for none
    tip : one sentence for the tooltip and the help table
    """

    name: str
    text: str
    key: str
    tip: str

    @property
    def shown_key(self) -> str:
        """The key as people write it: "Ctrl+Z"."""
        return self.key.replace("Control", "Ctrl").replace("Escape", "Esc").replace("-", "+")

    @property
    def label(self) -> str:
        """The button's text with its key."""
        return f"{self.text} ({self.shown_key})" if self.key else self.text

    @property
    def tooltip(self) -> str:
        """The tip, with its key."""
        return f"{self.tip} Key: {self.shown_key}." if self.key else self.tip


ACTIONS: tuple[Action, ...] = (
    Action("toggle_sign", "Foreground / background", "X", "Switch between foreground and background clicks."),
    Action("box", "Draw box", "B", "Drag a box around the object; drawn again it replaces the first one."),
    Action("undo", "Undo", "Control-Z", "Take back the last step of this object."),
    Action("redo", "Redo", "Control-Shift-Z", "Do again what was taken back."),
    Action("reset", "Reset", "Escape", "Remove all clicks of this object and start it anew."),
    Action("commit", "Commit", "Enter", "Keep this object under its label and go on with the next one."),
    Action("next_label", "Next label", "N", "Give the object a label that is not used yet."),
    Action("pick", "Pick object", "O", "Then click on a committed object: it is open again, clicks and all."),
    Action("delete", "Delete object", "Shift-D", "Then click on a committed object: it is removed."),
    Action("probability", "Probability", "P", "Show or hide how sure the model is, pixel by pixel."),
    Action("refine_edges", "Refine edges", "E", "Make this object's mask exact along thin structures."),
    Action("save", "Save labels…", "", "Write all committed objects: TIFF, OME-Zarr, or outlines on a map."),
    Action(
        "open_session", "Open session…", "", "Go on where an earlier session ended, undo history included."
    ),
    Action(
        "save_session", "Save session as…", "", "Record this session in a folder of your choice from now on."
    ),
)


def action(name: str) -> Action:
    """The action of that name."""
    return next(entry for entry in ACTIONS if entry.name == name)


def help_table(modifier: str) -> str:
    """All clicks and keys as a small HTML table; ``modifier`` is the key of background clicks."""
    modifier = modifier.replace("Control", "Ctrl")
    rows = [
        ("Click", "Foreground click: this belongs to the object."),
        (f"{modifier}+click or right click", "Background click: this does not."),
        ("Drag, wheel", "Move and zoom the picture, as always in napari."),
    ]
    rows += [(entry.shown_key, entry.tip) for entry in ACTIONS if entry.key]
    rows.append(
        ("S, drag", "Select and move clicks (napari's own select mode); Delete removes them, Z ends it.")
    )
    cells = "".join(f"<tr><td><b>{key}</b>&nbsp;&nbsp;</td><td>{tip}</td></tr>" for key, tip in rows)
    where = "Keys work while one of the layers of this dock is selected, and outside of fields."
    return f"<table>{cells}</table><p>{where}</p>"
