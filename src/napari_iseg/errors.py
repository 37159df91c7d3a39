"""Errors whose message is one sentence for the user: what is missing or wrong, and the fix."""

from __future__ import annotations


class IsegError(Exception):
    """Base of every refusal; the command line prints it and exits with 2, the viewer shows it."""


class InputError(IsegError, ValueError):
    """An image, click, box or option that cannot be used as given."""


class DamageError(InputError):
    """A file, or a part of one, that cannot be read; what else there is may be whole."""


class CheckpointError(IsegError, ValueError):
    """A weights file that is damaged, foreign, or of another architecture than asked for."""


class ModelNotFoundError(IsegError, LookupError):
    """A model name without a card, or a card whose weights are not on this machine."""


class FetchError(IsegError, OSError):
    """A download that could not be finished or verified."""


class DeviceError(IsegError, RuntimeError):
    """A device or precision that this machine does not offer."""


class SaveError(IsegError, OSError):
    """Something could not be written; what was there before is untouched, or the message says where it is."""


class CancelledError(IsegError):
    """The work was stopped on request; nothing of it was kept."""


class IncompleteError(IsegError, RuntimeError):
    """Some units of a long run failed; everything else is done and kept, and the run can be resumed.

    Attributes
    ----------
    report : object
        What was done, as the run would have returned it.
    """

    def __init__(self, message: str, report: object = None) -> None:
        super().__init__(message)
        self.report = report
