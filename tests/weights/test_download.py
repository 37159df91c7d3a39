"""Downloads against a server that drops, refuses, lies and hangs."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from collections import namedtuple

import pytest
from http_fake import serve

from napari_iseg.errors import FetchError
from napari_iseg.weights.download import Download

BODY = bytes(range(256)) * 8000  # 2 MB
SUM = hashlib.sha256(BODY).hexdigest()
QUICK = Download(timeout=(2.0, 0.5), attempts=1)


@pytest.fixture
def site():
    with serve() as running:
        running.files["/w.pth"] = BODY
        yield running


class Bar:
    """Counts like tqdm."""

    def __init__(self):
        self.total, self.n = None, 0

    def reset(self, total=None):
        self.total, self.n = total, 0

    def update(self, n=1):
        self.n += n


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_with_its_sum_and_a_bar(site, tmp_path, capfd):
    bar = Bar()
    found = Download(bar=bar)(f"{site.url}/w.pth", tmp_path / "new", name="w.pth", sha256=SUM, size=len(BODY))
    assert found == SUM
    assert (tmp_path / "new" / "w.pth").read_bytes() == BODY
    assert names(tmp_path / "new") == ["w.pth"]
    assert (bar.n, bar.total) == (len(BODY), len(BODY))
    assert capfd.readouterr() == ("", ""), "only the command line prints"
    assert QUICK(f"{site.url}/w.pth", tmp_path / "new", name="w.pth", sha256=SUM) == SUM
    assert len(site.seen) == 1, "a file that is here is not fetched again"


def test_a_dropped_download_goes_on_where_it_stopped(site, tmp_path):
    site.drop_after = [700_000]
    with pytest.raises(FetchError, match="stopped after 700000 bytes: the connection dropped; run the same"):
        Download(attempts=0)(f"{site.url}/w.pth", tmp_path, name="w.pth", sha256=SUM)
    assert names(tmp_path) == ["w.pth.part", "w.pth.part.json"], "nothing under the final name"
    bar = Bar()
    Download(bar=bar)(f"{site.url}/w.pth", tmp_path, name="w.pth", sha256=SUM)
    assert [wanted for _, wanted in site.seen] == [None, "bytes=700000-"]
    assert (tmp_path / "w.pth").read_bytes() == BODY
    assert names(tmp_path) == ["w.pth"]
    assert bar.n == bar.total == len(BODY)


@pytest.mark.parametrize("tags", [True, False], ids=["with ETag", "without"])
def test_a_connection_that_keeps_dropping_is_taken_up_again(site, tmp_path, tags):
    site.tags, site.drop_after = tags, [300_000, 400_000, 500_000]
    assert QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth") == SUM
    assert [wanted for _, wanted in site.seen] == [None, "bytes=300000-", "bytes=700000-", "bytes=1200000-"]


@pytest.mark.parametrize("size", [None, len(BODY)], ids=["size unknown", "size known"])
def test_a_range_that_is_answered_in_part_is_asked_for_further(site, tmp_path, size):
    site.drop_after, site.most = [300_000], 600_000
    assert QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth", size=size) == SUM
    assert [wanted for _, wanted in site.seen] == [
        None,
        "bytes=300000-",
        "bytes=900000-",
        "bytes=1500000-",
    ]


def test_a_part_that_is_the_whole_already_is_kept(site, tmp_path):
    """A process may be killed between the last byte and the file's name."""
    site.drop_after = [len(BODY) - 1]
    with pytest.raises(FetchError):
        Download(attempts=0)(f"{site.url}/w.pth", tmp_path, name="w.pth")
    with (tmp_path / "w.pth.part").open("ab") as stream:
        stream.write(BODY[-1:])
    assert QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth") == SUM
    assert len(site.seen) == 1
    assert names(tmp_path) == ["w.pth"]


def test_without_range_support_it_starts_again_cleanly(site, tmp_path):
    site.ranges, site.drop_after = False, [900_000]
    assert QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth", sha256=SUM) == SUM
    assert (tmp_path / "w.pth").read_bytes() == BODY


def test_a_server_that_always_drops_is_given_up(site, tmp_path):
    site.ranges, site.drop_after = False, [5000, 4000] * 50
    with pytest.raises(FetchError, match="the connection dropped"):
        QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth")
    assert len(site.seen) <= 3


def test_a_file_that_changed_meanwhile_is_not_glued_together(site, tmp_path):
    site.drop_after = [700_000]
    with pytest.raises(FetchError):
        Download(attempts=0)(f"{site.url}/w.pth", tmp_path, name="w.pth")
    site.files["/w.pth"] = BODY[::-1]
    assert Download()(f"{site.url}/w.pth", tmp_path, name="w.pth") == hashlib.sha256(BODY[::-1]).hexdigest()


def test_a_left_over_part_that_is_too_long_is_dropped(site, tmp_path):
    site.drop_after = [700_000]
    with pytest.raises(FetchError):
        Download(attempts=0)(f"{site.url}/w.pth", tmp_path, name="w.pth")
    with (tmp_path / "w.pth.part").open("ab") as stream:
        stream.write(b"x" * len(BODY))
    assert Download()(f"{site.url}/w.pth", tmp_path, name="w.pth") == SUM


def test_a_wrong_sum_is_refused_and_nothing_stays(site, tmp_path):
    with pytest.raises(FetchError, match="not the expected one"):
        QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth", sha256="0" * 64)
    assert names(tmp_path) == []


def test_a_wrong_size_is_refused_before_it_is_loaded(site, tmp_path):
    with pytest.raises(FetchError, match=f"has {len(BODY)} bytes instead of 10"):
        QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth", size=10)


def test_not_found_is_said(site, tmp_path):
    with pytest.raises(FetchError, match="answered 404"):
        QUICK(f"{site.url}/none.pth", tmp_path, name="none.pth")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (404, "look whether the address moved"),
        (410, "look whether the address moved"),
        (401, "does not let you have it"),
        (403, "does not let you have it"),
        (408, "try again later"),
        (425, "try again later"),
        (429, "try again later"),
        (503, "try again later"),
    ],
)
def test_a_refusal_is_given_the_advice_that_it_needs(site, tmp_path, status, advice):
    site.status = status
    with pytest.raises(FetchError, match=f"answered {status} .*{advice}"):
        QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth")


def test_an_answer_that_cannot_be_understood_is_said(site, tmp_path):
    site.redirects = {"/odd": "http://[/x"}
    with pytest.raises(FetchError, match="cannot be understood"):
        QUICK(f"{site.url}/odd", tmp_path, name="w.pth")
    site.lengths = "\xb2"  # a digit, of a kind
    assert QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth") == SUM


@pytest.mark.parametrize("proxy", ["foo://x", "http://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_named(site, tmp_path, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(FetchError, match=r"the proxy .* could not be used"):
        QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth")


def test_a_server_that_hangs_is_left(site, tmp_path):
    site.hang, site.drop_after = True, [1000, 0, 0]
    with pytest.raises(FetchError, match="after 1000 bytes: the server sent nothing for too long"):
        QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth")


def test_nobody_listening_is_said(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(FetchError, match="could not be reached"):
        QUICK(f"http://127.0.0.1:{port}/w.pth", tmp_path, name="w.pth")


def test_redirects_are_followed_within_a_scheme_only(site, tmp_path):
    site.redirects = {"/a": "/w.pth", "/up": "https://127.0.0.1/w.pth", "/file": "file:///etc/passwd"}
    site.redirects |= {"/loop": "/loop", "/away": "http://example.org/w.pth"}
    assert QUICK(f"{site.url}/a", tmp_path, name="w.pth") == SUM
    for path, message in [
        ("/up", "redirects from http"),
        ("/file", "redirects from http"),
        ("/loop", "circle"),
    ]:
        with pytest.raises(FetchError, match=message):
            QUICK(site.url + path, tmp_path, name="x.pth")
    with pytest.raises(FetchError, match="https only"):
        QUICK(f"{site.url}/away", tmp_path, name="x.pth")


def test_only_https_is_fetched(tmp_path):
    for url in ("http://example.org/w.pth", "ftp://example.org/w.pth", "file:///etc/passwd"):
        with pytest.raises(FetchError, match="https only"):
            QUICK(url, tmp_path, name="w.pth")


def test_a_full_disk_is_seen_beforehand(site, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1000))
    with pytest.raises(FetchError, match="0 MB free but 2 MB are needed"):
        QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110
def test_a_disk_that_fills_up_is_said(site, tmp_path):
    (tmp_path / "w.pth.part").symlink_to("/dev/full")
    with pytest.raises(FetchError, match="No space left on device"):
        QUICK(f"{site.url}/w.pth", tmp_path, name="w.pth")


def test_a_folder_that_cannot_be_made_is_said(site, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FetchError, match=r"Could not write w\.pth"):
        QUICK(f"{site.url}/w.pth", tmp_path / "file", name="w.pth")
