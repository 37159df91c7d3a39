"""A copy of a session elsewhere: what is recorded, from which everything else is made again."""

from __future__ import annotations

import shutil
from pathlib import Path

from napari_iseg.errors import InputError, SaveError
from napari_iseg.files import replacing_folder
from napari_iseg.interactive.session_folder import INFO, JOURNAL, read_info
from napari_iseg.labels.layout import sync


def copy_session(folder: str | Path, target: str | Path) -> Path:
    """Copy the session in ``folder`` to the new folder ``target``, which appears whole or not at all.

    Only the record is copied; the labels are painted from it when the copy is opened. The session may be
    open, as long as nothing is done in it meanwhile.

    Returns
    -------
    Path
        ``target``

    Raises
    ------
    InputError
        ``folder`` is no session, ``target`` is there already or inside of it, or the labels lie outside.
    SaveError
        ``target`` cannot be written.
    """
    folder, target = Path(folder), Path(target)
    stored = read_info(folder).get("labels", {}).get("path")
    if stored:
        raise InputError(f"The labels of this session lie at {stored}; copy them and {folder} by hand.")
    if _is_there(target):
        raise InputError(f"{target} exists already; choose a new name for the session.")
    if folder.resolve() in target.resolve().parents:
        raise InputError(f"{target} lies inside the session itself; choose a folder outside of {folder}.")
    with replacing_folder(target, new=True) as fresh:
        for name in (INFO, JOURNAL):
            shutil.copyfile(folder / name, fresh / name)
            sync(fresh / name)
    return target


def _is_there(target: Path) -> bool:
    """Whether there is something of that name; SaveError for a name that cannot be one."""
    try:
        return target.exists()
    except OSError as error:  # too long, for one
        raise SaveError(
            f"The session cannot be saved as {target.name!r}: {error.strerror or error}; choose another name."
        ) from error
