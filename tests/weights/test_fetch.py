"""Fetch from licence to model, with the published three-part archive in small."""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import replace

import py7zr
import pytest
from http_fake import serve
from published_form import SIZES

from napari_iseg.backends.cards import CardFile, ModelCard, write_card
from napari_iseg.errors import CheckpointError, FetchError, ModelNotFoundError, SaveError
from napari_iseg.weights.archive import unpack_weights
from napari_iseg.weights.download import Download
from napari_iseg.weights.fetch import FetchOptions, fetch
from napari_iseg.weights.store import load_model

YES = FetchOptions(accept_licence=True, download=Download(timeout=(2.0, 2.0), attempts=1))


def in_parts(archive: bytes) -> list[bytes]:
    third = len(archive) // 3
    return [archive[:third], archive[third : 2 * third], archive[2 * third :]]


@pytest.fixture
def archive(save_published, tmp_path):
    path = tmp_path / "weights.7z"
    with py7zr.SevenZipFile(path, "w") as packed:
        packed.writestr("please read", "readme.txt")
        packed.write(save_published("net.pth"), "net.pth")
    return path.read_bytes()


@pytest.fixture
def site(archive, store):
    """A server with the parts, and a shipped card that points there."""
    with serve() as running:
        files = []
        for number, part in enumerate(in_parts(archive), 1):
            running.files[f"/v1/net.pth.7z.00{number}"] = part
            files.append(CardFile(f"{running.url}/v1/net.pth.7z.00{number}", archive="7z"))
        card = ModelCard(
            "big",
            "cfr-icl",
            SIZES,
            licence="CC BY-NC 4.0",
            licence_url="https://example.org/l",
            files=tuple(files),
        )
        write_card(replace(card, weights="net.safetensors", names="published"), store.shipped / "big")
        yield running


def test_parts_are_joined_unpacked_imported_and_recorded(site, store):
    site.drop_after = [2000]
    card = fetch("big", store, YES)
    assert card.is_local
    assert card.licence == "CC BY-NC 4.0"
    assert [f.sha256 for f in card.files] == [
        hashlib.sha256(body).hexdigest() for body in site.files.values()
    ]
    assert [f.size for f in card.files] == [len(body) for body in site.files.values()]
    assert not (store.home / "downloads" / "big").exists()
    assert sum(p.numel() for p in load_model("big", device="cpu", store=store).net.parameters()) > 10_000
    count = len(site.seen)
    assert fetch("big", store) == card, "a second fetch finds it here"
    assert len(site.seen) == count


def test_the_licence_is_shown_and_accepted_once(site, store):
    asked = []
    options = replace(YES, accept_licence=False)
    with pytest.raises(
        FetchError, match=r"published under: CC BY-NC 4.0 \(https://example.org/l\).*--accept-licence"
    ):
        fetch("big", store, options)
    with pytest.raises(FetchError, match="Nothing was downloaded"):
        fetch("big", store, replace(options, ask=lambda text: asked.append(text) or False))
    assert asked == ["The weights of big are published under: CC BY-NC 4.0 (https://example.org/l)."]
    assert site.seen == []
    fetch("big", store, YES)
    noted = json.loads((store.home / "licences.json").read_text())
    assert noted["CC BY-NC 4.0 https://example.org/l"]["date"].startswith("20")
    (store.user_folder / "big" / "card.toml").unlink()
    assert fetch("big", store, options).is_local, "not asked again"


def test_an_interrupted_fetch_goes_on_with_the_part_it_was_at(site, store):
    second = site.files.pop("/v1/net.pth.7z.002")
    with pytest.raises(FetchError, match="404"):
        fetch("big", store, YES)
    site.files["/v1/net.pth.7z.002"] = second
    fetch("big", store, YES)
    assert [path[-1] for path, _ in site.seen] == ["1", "2", "2", "3"]


def test_a_damaged_archive_is_said_and_fetched_anew(site, store):
    good = site.files["/v1/net.pth.7z.002"]
    site.files["/v1/net.pth.7z.002"] = bytes(len(good))
    with pytest.raises(FetchError, match="is damaged"):
        fetch("big", store, YES)
    assert not store.find("big").is_local
    site.files["/v1/net.pth.7z.002"] = good
    assert fetch("big", store, YES).is_local


@pytest.mark.parametrize("body", [b"<html>down for maintenance</html>", None], ids=["page", "cut off"])
def test_a_wrong_file_without_checksum_is_not_taken_up_again(store, save_published, body):
    whole = save_published("net.pth").read_bytes()
    with serve() as running:
        running.files["/net.pth"] = body or whole[: len(whole) // 2]
        card = ModelCard(
            "plain", "cfr-icl", SIZES, licence="MIT", files=(CardFile(f"{running.url}/net.pth"),)
        )
        write_card(replace(card, weights="net.safetensors", names="published"), store.shipped / "plain")
        with pytest.raises(CheckpointError):
            fetch("plain", store, YES)
        running.files["/net.pth"] = whole
        assert fetch("plain", store, YES).is_local


@pytest.mark.parametrize("reason", ["404", "sha256 differs", "has 9 bytes instead of 5"])
def test_a_fetch_that_brought_nothing_leaves_no_folder(store, reason):
    with serve() as running:
        if "404" not in reason:
            running.files["/net.pth"] = b"something"
        sums = {"sha256": "0" * 64} if "sha256" in reason else {"size": 5}
        file = CardFile(f"{running.url}/net.pth", **sums)
        write_card(
            ModelCard("plain", "cfr-icl", SIZES, licence="MIT", files=(file,)), store.shipped / "plain"
        )
        with pytest.raises(FetchError, match=reason):
            fetch("plain", store, YES)
    assert list((store.home / "downloads").iterdir()) == []


def test_other_weights_than_the_card_describes_are_refused(site, store):
    write_card(replace(store.find("big"), variant="vit-b"), store.shipped / "big")
    with pytest.raises(
        CheckpointError, match="but the model big is cfr-icl vit-b; that file is not the published one"
    ):
        fetch("big", store, YES)
    assert not store.find("big").is_local


def test_what_only_a_person_can_download_says_where_to_click(store):
    write_card(
        ModelCard(
            "manual",
            "cfr-icl",
            "vit-b",
            licence="MIT",
            manual_url="https://example.org/f",
            weights="b.safetensors",
        ),
        store.shipped / "manual",
    )
    with pytest.raises(
        ModelNotFoundError, match=r"https://example.org/f and run `.* import b.pth --name manual`"
    ):
        fetch("manual", store, YES)


def packed(tmp_path, **entries):
    path = tmp_path / "a.7z"
    with py7zr.SevenZipFile(path, "w") as archive:
        for name, text in entries.items():
            archive.writestr(text, name)
    return path


def test_only_the_wanted_member_is_unpacked(tmp_path):
    path = packed(tmp_path, **{"folder/net.pth": "wanted", "other.pth": "x", "run.sh": "y"})
    unpack_weights([path], tmp_path / "out" / "w", "net.pth")
    assert (tmp_path / "out" / "w").read_text() == "wanted"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["w"]
    with pytest.raises(FetchError, match=r"should hold one weights file 'third\.pth', but it holds"):
        unpack_weights([path], tmp_path / "out" / "w2", "third.pth")


def test_a_path_that_leads_out_is_refused(tmp_path):
    data = packed(tmp_path, **{"aa/net.pth": "x"}).read_bytes()
    assert (
        "aa/net.pth".encode("utf-16-le") not in data
    )  # the table of names is packed too, so it is forged by hand
    path = tmp_path / "evil.7z"
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.writestr("x", "aa/net.pth")
        archive.header.files_info.files[0]["filename"] = "../net.pth"
    with pytest.raises(FetchError, match=r"unsafe path '\.\./net.pth'"):
        unpack_weights([path], tmp_path / "deep" / "w", "net.pth")
    assert not (tmp_path / "deep").exists()


def test_something_that_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "page.7z.001"
    path.write_text("<html>")
    with pytest.raises(FetchError, match="is damaged"):
        unpack_weights([path], tmp_path / "w")


def test_a_part_that_is_gone_is_not_called_damaged(tmp_path):
    with pytest.raises(FetchError, match=r"x\.7z cannot be read \(No such file or directory\); look whether"):
        unpack_weights([tmp_path / "x.7z"], tmp_path / "w.pth")


@pytest.mark.parametrize("whole", [False, True], ids=["contents", "names too"])
def test_an_encrypted_archive_is_called_so(tmp_path, whole):
    path = tmp_path / "locked.7z"
    with py7zr.SevenZipFile(path, "w", password="x", header_encryption=whole) as archive:
        archive.writestr("x", "net.pth")
    with pytest.raises(FetchError, match=r"locked.7z is encrypted; unpack it with its password by hand"):
        unpack_weights([path], tmp_path / "w")
    assert not (tmp_path / "w").exists()


@pytest.fixture
def methods(tmp_path):
    """``archived(number)``: an archive whose contents are packed by that method of py7zr."""

    def archived(number: int, **options) -> bytes:
        path = tmp_path / "m.7z"
        with py7zr.SevenZipFile(path, "w", filters=[{"id": number, **options}]) as archive:
            archive.writestr(bytes(range(256)) * 12 + b"abc" * 20_000, "net.pth")
        return path.read_bytes()

    return archived


@pytest.mark.parametrize("method", ["LZMA", "LZMA2", "DEFLATE", "BZIP2", "COPY"])
def test_the_usual_methods_are_unpacked_and_their_damage_is_said(methods, tmp_path, method):
    path, number = tmp_path / "a.7z", getattr(py7zr, f"FILTER_{method}")
    data = bytearray(methods(number))
    path.write_bytes(data)
    unpack_weights([path], tmp_path / "w")
    assert (tmp_path / "w").read_bytes().endswith(b"abc")
    data[100] ^= 255
    path.write_bytes(data)
    with pytest.raises(FetchError, match="is damaged"):
        unpack_weights([path], tmp_path / "broken")
    assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize(
    ("method", "options"),
    [("PPMD", {"order": 6, "mem": 24}), ("ZSTD", {"level": 3}), ("BROTLI", {"level": 1})],
)
def test_methods_whose_decoders_are_not_trusted_are_refused(methods, tmp_path, method, options):
    path = tmp_path / "a.7z"
    path.write_bytes(methods(getattr(py7zr, f"FILTER_{method}"), **options))
    with pytest.raises(FetchError, match="packed by a method that is not unpacked here"):
        unpack_weights([path], tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_disk_that_fills_up_while_unpacking_is_not_called_damage(methods, tmp_path, monkeypatch):
    path = tmp_path / "a.7z"
    path.write_bytes(methods(py7zr.FILTER_BZIP2))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("napari_iseg.weights.archive._Writer.write", full)
    with pytest.raises(SaveError, match="No space left on device"):
        unpack_weights([path], tmp_path / "w")


def test_too_little_memory_is_not_called_damage(methods, tmp_path, monkeypatch):
    path = tmp_path / "a.7z"
    path.write_bytes(methods(py7zr.FILTER_LZMA2))

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr("napari_iseg.weights.archive._Writer.write", no_memory)
    with pytest.raises(MemoryError):
        unpack_weights([path], tmp_path / "w")
