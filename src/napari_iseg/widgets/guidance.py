"""Words and states for the dock, worked out from what is so; no Qt, no napari."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_iseg.widgets.editor import Editor

if TYPE_CHECKING:
    from napari_iseg.interactive.session import Session

NO_MODEL = (
    "No model is on this machine; fetch one with `napari-iseg models fetch NAME`, then open this dock again."
)

_TOOLS = {  # of napari's Points layers, by mode
    "select": "Clicks are selected now: drag one to move it, Delete removes it",
    "add": "napari's tool for adding points is chosen; each is a foreground click",
}


def possible(editor: Editor | None) -> dict[str, bool]:
    """Which actions make sense now, by name."""
    session = None if editor is None else editor.session
    clicked = editor is not None and editor.has_prompts
    committed = editor is not None and editor.layers.committed is not None
    return {
        "undo": session is not None and session.can_undo,
        "redo": session is not None and session.can_redo,
        "reset": clicked,
        "commit": clicked and not (editor is not None and found_nothing(editor)),
        "refine_edges": editor is not None and editor.has_object,
        "next_label": session is not None,
        "pick": committed,
        "delete": committed,
        "probability": editor is not None,
        "box": editor is not None,
        "save": committed,
        "save_session": session is not None,
    }


def found_nothing(editor: Editor) -> bool:
    """Whether the answer to the present clicks is there, and empty."""
    session = editor.session
    patch = session.patch if session is not None and editor.settled and editor.has_prompts else None
    return patch is not None and not patch.mask.any()


def next_step(editor: Editor, armed: str) -> str:
    """One sentence: what the user can do now.

    Parameters
    ----------
    editor : that of the chosen image, which clicks reach
    armed : "pick" or "delete" when the next click in the image means that, else ""
    """
    if editor.layers.drawing:
        return "Drag a box around the object, from one corner to the opposite one, or press Esc."
    if armed:
        return f"Click on the object to {'reopen' if armed == 'pick' else 'delete'}, or press Esc."
    if not editor.has_prompts:
        boxes = editor.layers.boxes.layer is not None
        return "Click on an object, or draw a box around it (B)." if boxes else "Click on an object."
    if not editor.settled:
        return "Your clicks are kept; the answer comes."
    if found_nothing(editor):
        return "Nothing was found; click on the object itself, or undo."
    if editor.session is None or editor.session.patch is None:
        return "There is no answer to these clicks yet; click again, or undo."
    if editor.session.has_mask:
        return "This mask stands until the next click. Undo (Ctrl+Z) shows the one before; commit (Enter)."
    took = "" if editor.seconds is None else f"Answered in {editor.seconds:.2f} s. "
    return f"{took}Correct with more clicks, or commit (Enter)."


def unheard(editor: Editor) -> str:
    """Why a click in the image means nothing to us now, and what to do about it; empty where one does."""
    points = editor.layers.points
    if points is None or not editor.layers.are_shown:
        return "The layer of clicks was removed; choose the image above once more, and it comes back."
    if editor.layers.lack_objects:
        return "The layer of objects was removed; choose the image above once more, and it comes back."
    if not editor.layers.take_prompts:
        kept = editor.layers.viewer.layers.selection.active in editor.layers.ours  # where our keys are bound
        what = "clicks" if kept else "clicks and keys"
        return f"Select the layer “{points.name}”; {what} go to another one now."
    if editor.layers.viewer.layers.selection.active is points and str(points.mode) != "pan_zoom":
        tool = _TOOLS.get(str(points.mode), "Another tool of napari is chosen")
        return f"{tool}. Press Z to click on objects again."
    return ""


def news(editor: Editor) -> str:
    """What has become of the last command where that is worth saying, once; else empty."""
    removed, commit = editor.news.take_reset(), editor.news.take_commit()
    if removed is not None:
        return f"Object {removed} was removed. Undo (Ctrl+Z) brings it back."
    return "" if commit is None else after_commit(*commit)


def after_commit(label: int, kept: int) -> str:
    """What became of a commit; ``kept`` pixels belong to objects that were committed before."""
    if kept == 0:
        return f"Committed as label {label}. Click on the next object."
    return f"Committed as label {label}; {kept} pixels stayed with earlier objects. Click on the next one."


def not_saved(session: Session) -> str:
    """What is missing in labels that were saved; asked in the worker."""
    labels = sorted(session.reopened.values())
    planes = tuple(plane for plane in session.open_planes if plane not in session.reopened)
    if labels and not planes:
        return f" {_open_and_not_in('it', labels)}; commit {_it(labels)} (Enter) and save again."
    if not labels and planes in ((), (session.plane,)):
        return " The object that is open is not in it; commit it (Enter) and save again." if planes else ""
    names = ", ".join("/".join(map(str, plane)) for plane in planes)
    what = f"Objects on planes {names} are" if len(planes) > 1 else f"An object on plane {names} is"
    first = f" {_open_and_not_in('it', labels)}." if labels else ""
    return f"{first} {what} open and not in it; commit on each plane (Enter) and save again."


def not_left(editors: Sequence[Editor], way_back: str) -> str:
    """What is missing in the labels that stay once ``editors`` are closed, and the ``way_back`` to it."""
    holding = [editor for editor in editors if editor.reopened]
    labels = sorted(label for editor in holding for label in editor.reopened)
    if not labels:
        return ""
    words = f"{_open_and_not_in('the labels that stay', labels)}."
    if any(editor.folder is None for editor in holding):
        return f"{words} This session is not recorded, so there is no way back to {_it(labels)}."
    return f"{words} {way_back}, and commit {_it(labels)}."


def _open_and_not_in(place: str, labels: Sequence[int]) -> str:
    names = " and ".join(str(label) for label in labels)
    what = f"Objects {names} are" if len(labels) > 1 else f"Object {names} is"
    return f"{what} open and not in {place}"


def _it(labels: Sequence[int]) -> str:
    return "them" if len(labels) > 1 else "it"


def after_new_pixels(editors: Sequence[Editor]) -> str:
    """What became of an image's objects when it got other pixels; asked before ``editors`` are closed."""
    words = "The image has new pixels. Objects made before stay in their layer; new ones start anew."
    open_ones = [editor for editor in editors if editor.has_prompts]
    if not open_ones:
        return words
    words += " The clicks of the object that was not committed are gone from view"
    if any(editor.session is not None and editor.session.folder is not None for editor in open_ones):
        words += "; its session has them, for Open session… on the image of before"
    return f"{words}."
