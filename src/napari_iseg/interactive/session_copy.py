"""A copy of a session elsewhere: what is recorded, from which everything else is made again."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from napari_iseg.errors import InputError, SaveError
from napari_iseg.interactive.session_folder import INFO, JOURNAL, read_info


def copy_session(folder: Path, target: Path) -> Path:
    """Copy the session in ``folder`` to the new folder ``target``, which appears whole or not at all.

    Only the record is copied; the labels are painted from it when the copy is opened. The session may be
    open, as long as nothing is done in it meanwhile.

    Returns
    -------
    ``target``

    Raises
    ------
    InputError
        ``folder`` is no session, ``target`` is there already or inside of it, or the labels lie outside.
    SaveError
        ``target`` cannot be written.
    """
    stored = read_info(folder).get("labels", {}).get("path")
    if stored:
        raise InputError(f"The labels of this session lie at {stored}; copy them and {folder} by hand.")
    if target.exists():
        raise InputError(f"{target} exists already; choose a new name for the session.")
    if folder.resolve() in target.resolve().parents:
        raise InputError(f"{target} lies inside the session itself; choose a folder outside of {folder}.")
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        partial.mkdir(parents=True)
        for name in (INFO, JOURNAL):
            shutil.copyfile(folder / name, partial / name)
            with (partial / name).open("rb+") as file:
                os.fsync(file.fileno())
        partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise SaveError(
            f"The session could not be saved to {target} ({error.strerror or error}); choose another folder."
        ) from error
    return target
