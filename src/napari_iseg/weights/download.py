"""One file over HTTP(S): resumed where the server allows it, checked, never half-written under its name."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

import pooch
import requests
import urllib3

from napari_iseg.errors import FetchError

_LOCAL = ("localhost", "127.0.0.1", "::1")
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 10
_BUSY = (408, 425, 429)
_PROXY = (
    requests.exceptions.ProxyError,
    requests.exceptions.InvalidProxyURL,
    requests.exceptions.InvalidSchema,  # socks without its package
)


class Bar(Protocol):
    """The progress of a file: a total in bytes and steps towards it."""

    def update(self, n: float = 1) -> Any:
        """Advance by ``n`` bytes."""

    def reset(self, total: float | None = None) -> Any:
        """Start at zero, of ``total`` bytes where they are known."""


@dataclass(frozen=True, slots=True)
class Download:
    """How to download.

    ``timeout`` is in seconds, (connecting, waiting for more data); ``attempts`` counts tries in a row that
    bring nothing new: a connection that drops but advances is taken up again without end.
    """

    timeout: tuple[float, float] = (15.0, 60.0)
    attempts: int = 3
    bar: Bar | None = None

    def __call__(
        self, url: str, folder: Path, *, name: str, sha256: str | None = None, size: int | None = None
    ) -> str:
        """Bring ``url`` to ``folder / name`` unless it is there already.

        Returns
        -------
        str
            The sha256 of the file, in hexadecimal digits.

        Raises
        ------
        FetchError
            Refused, not found, dropped, too slow, another file than expected, or no space; what came stays in
            ``name + ".part"`` and the next try goes on from there.
        """
        _check_scheme(url, urlsplit(url).scheme)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _quiet_pooch():
                done = pooch.retrieve(
                    url,
                    known_hash=None if sha256 is None else f"sha256:{sha256}",
                    fname=name,
                    path=folder,
                    downloader=_Resuming(self, folder / f"{name}.part", size),
                )
            return str(pooch.file_hash(done))
        except FetchError:
            raise
        except OSError as error:
            raise FetchError(
                f"Could not write {name} to {folder}: {error.strerror or error}; "
                "mend that and run the same command again."
            ) from None
        except ValueError:
            raise FetchError(
                f"The file behind {url} is not the expected one (its sha256 differs from {sha256}); "
                "it was deleted: try again, and if it happens twice the publisher has changed the file."
            ) from None


class _Resuming:
    """Pooch's downloader interface over a partial file that survives a failure."""

    def __init__(self, options: Download, part: Path, size: int | None) -> None:
        self._options, self._part, self._size = options, part, size
        self._note = part.with_name(part.name + ".json")

    def __call__(self, url: str, output_file: Any, _pooch: Any) -> None:
        idle, best = 0, self._have()
        while True:
            try:
                complete = self._attempt(url)
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                complete, reason = False, _reason(error)
            except ValueError:
                raise FetchError(
                    f"The server's answer for {url} cannot be understood; try again later, and look whether "
                    "the address moved."
                ) from None
            else:
                reason = "the connection was closed too early"
            if complete:
                break
            idle = 0 if self._have() > best else idle + 1
            best = max(best, self._have())
            if idle >= self._options.attempts:
                raise FetchError(
                    f"The download of {url} stopped after {self._have()} bytes: {reason}; "
                    "run the same command again to go on."
                )
        self._part.replace(output_file)
        self._note.unlink(missing_ok=True)

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _attempt(self, url: str) -> bool:
        """One connection; True when the file is complete."""
        note = self._recall(url)
        have = self._have() if note else 0
        if have and have == note["total"]:  # this process was killed before it could give the file its name
            return True
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        if have and note["validator"]:
            headers["If-Range"] = note["validator"]
        with requests.Session() as session, _get(session, url, headers, self._options.timeout) as answer:
            if answer.status_code == 416:
                self._part.unlink(missing_ok=True)
                return False
            if answer.status_code not in (200, 206):
                raise FetchError(
                    f"The server answered {answer.status_code} {answer.reason} for {url}; "
                    f"{_advice(answer.status_code)}."
                )
            start = _range_start(answer) if answer.status_code == 206 else 0
            if start not in (0, have) or (start and _full_size(answer) not in (None, note["total"])):
                self._part.unlink(missing_ok=True)
                return False
            return self._receive(url, answer, start)

    def _receive(self, url: str, answer: requests.Response, start: int) -> bool:
        total = _full_size(answer)
        if total is None:
            length = _number(answer.headers.get("Content-Length", ""))
            total = self._size if length is None else start + length
        if self._size is not None and total is not None and total != self._size:
            raise FetchError(
                f"The file behind {url} has {total} bytes instead of {self._size}; "
                "the publisher has changed it."
            )
        self._check_space(total, start)
        self._remember(url, answer, total)
        bar = self._options.bar
        if bar is not None:
            bar.reset(total)
            bar.update(start)
        with self._part.open("r+b" if start else "wb") as stream:
            if start:
                stream.seek(start)
                stream.truncate()
            for chunk in _chunks(answer):
                stream.write(chunk)
                if total is not None and stream.tell() > total:
                    raise FetchError(
                        f"The server sent more than the {total} bytes of {url}; try again later."
                    )
                if bar is not None:
                    bar.update(len(chunk))
        return total is None or self._have() == total

    def _check_space(self, total: int | None, start: int) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if total is not None and total - start > free:
            raise FetchError(
                f"The disk with {self._part.parent} has {free // 2**20} MB free but "
                f"{(total - start) // 2**20 + 1} MB are needed; "
                "make space or set NAPARI_ISEG_HOME to another disk."
            )

    def _remember(self, url: str, answer: requests.Response, total: int | None) -> None:
        """Note what the partial file is a part of: a changed file is not glued to an old start."""
        tag = answer.headers.get("ETag", "")
        validator = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")
        self._note.write_text(json.dumps({"url": url, "validator": validator, "total": total}))

    def _recall(self, url: str) -> dict[str, Any]:
        try:
            note = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return {}
        fits = isinstance(note, dict) and {"url", "validator", "total"} <= set(note) and note["url"] == url
        return note if fits else {}


def _get(
    session: requests.Session, url: str, headers: dict[str, str], timeout: tuple[float, float]
) -> requests.Response:
    """The answer after redirects, each of which must keep to https (or to this machine)."""
    scheme = urlsplit(url).scheme
    for _ in range(_MAX_REDIRECTS):
        answer = session.get(url, headers=headers, timeout=timeout, stream=True, allow_redirects=False)
        if answer.status_code not in _REDIRECTS or "Location" not in answer.headers:
            return answer
        answer.close()
        url = urljoin(url, answer.headers["Location"])
        _check_scheme(url, scheme)
    raise FetchError(f"{url} redirects in a circle; look whether the address moved.")


def _check_scheme(url: str, scheme: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != scheme:
        raise FetchError(
            f"The server redirects from {scheme} to {parts.scheme}:, which is not followed; "
            "look whether the address moved."
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise FetchError(f"Weights are fetched over https only, and {url} is not such an address.")


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    """Data as it comes in: `iter_content` would lose what came before a drop inside a chunk."""
    while chunk := answer.raw.read1(2**16):
        yield chunk


def _range_start(answer: requests.Response) -> int:
    """First byte of a partial answer, -1 when the server does not say."""
    text = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    number = _number(text)
    return -1 if number is None else number


def _full_size(answer: requests.Response) -> int | None:
    """Size of the whole file as a partial answer states it; it need not bring all of the rest."""
    if answer.status_code != 206:
        return None
    return _number(answer.headers.get("Content-Range", "").rpartition("/")[2])


def _number(text: str) -> int | None:
    """A whole number of a header; None for anything else, as a digit of another script."""
    return int(text) if text.isascii() and text.isdigit() else None


def _advice(status: int) -> str:
    """What to do about a refusal."""
    if status in (401, 403):
        return "it does not let you have it: see the page of the model"
    return "try again later" if status >= 500 or status in _BUSY else "look whether the address moved"


def _reason(error: Exception) -> str:
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "the server sent nothing for too long"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate could not be verified"
    if isinstance(error, _PROXY) or isinstance(error.__context__, urllib3.exceptions.ProxySchemeUnknown):
        return "the proxy that HTTPS_PROXY or the system names could not be used"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "the connection dropped"
    return "the server could not be reached"


@contextlib.contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Pooch announces each download on stderr; here the caller's bar does."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
