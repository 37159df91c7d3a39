"""Two processes at one model: one works, the other waits and finds it done; a killed one blocks nobody."""

from __future__ import annotations

import errno
import multiprocessing
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from http_fake import serve
from published_form import SIZES

from napari_iseg.backends.cards import CardFile, ModelCard, write_card
from napari_iseg.errors import SaveError
from napari_iseg.weights.download import Download
from napari_iseg.weights.fetch import FetchOptions, fetch
from napari_iseg.weights.locks import held
from napari_iseg.weights.store import Store, load_model


def hold_until_killed(home: str, ready: str) -> None:
    with held(Path(home), "fetch-x"):
        Path(ready).touch()
        time.sleep(600)


def fetched(home: str, shipped: str, answers: multiprocessing.Queue) -> None:
    options = FetchOptions(
        accept_licence=True,
        download=Download(timeout=(5.0, 5.0), attempts=2),
        waiting=lambda: answers.put("waiting"),
    )
    answers.put(fetch("big", Store(home, Path(shipped)), options).sha256)


def test_two_processes_fetch_one_model_once(save_published, store):
    with serve() as site:
        site.files["/net.pth"] = save_published("net.pth").read_bytes()
        card = ModelCard("big", "cfr-icl", SIZES, licence="MIT", files=(CardFile(f"{site.url}/net.pth"),))
        write_card(replace(card, weights="net.safetensors", names="published"), store.shipped / "big")
        context = multiprocessing.get_context("spawn")
        answers = context.Queue()
        given = (str(store.home), str(store.shipped), answers)
        both = [context.Process(target=fetched, args=given) for _ in range(2)]
        with held(store.home, "fetch-big"):  # until both stand before the lock
            for process in both:
                process.start()
            assert [answers.get(timeout=200) for _ in both] == ["waiting", "waiting"]
            assert site.seen == []
        sums = {answers.get(timeout=200) for _ in both}
        for process in both:
            process.join()
        assert len(sums) == 1
        assert [path for path, _ in site.seen] == ["/net.pth"]
    assert load_model("big", device="cpu", store=store).card.sha256 in sums


def test_a_killed_process_lets_go(tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=hold_until_killed, args=(str(tmp_path), str(tmp_path / "ready"))
    )
    process.start()
    while not (tmp_path / "ready").exists():
        assert process.is_alive()
        time.sleep(0.05)
    waited = []
    thread = threading.Timer(0.3, process.kill)
    thread.start()
    with held(tmp_path, "fetch-x", lambda: waited.append(process.is_alive())):
        process.join(10)
        assert process.exitcode is not None, "the lock was given away while it was held"
    assert waited == [True]
    thread.join()


def test_different_models_do_not_wait_for_each_other(tmp_path):
    with held(tmp_path, "fetch-a"), held(tmp_path, "fetch-b", lambda: pytest.fail("it waited")):
        pass


@pytest.mark.parametrize("refusal", [NotImplementedError(), OSError(errno.ENOLCK, "No locks available")])
def test_without_locks_the_work_is_done_all_the_same(tmp_path, monkeypatch, refusal):
    def refuse(*_args, **_options):
        raise refusal

    monkeypatch.setattr(FileLock, "acquire", refuse)
    done = []
    with held(tmp_path, "fetch-a"):
        done.append(True)
    assert done


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "locks").touch()
    with pytest.raises(SaveError, match="NAPARI_ISEG_HOME"), held(tmp_path, "fetch-a"):
        pytest.fail("it ran")


def test_without_locks_the_block_s_own_errors_come_through(tmp_path, monkeypatch):
    def unsupported(*_args, **_options):
        raise NotImplementedError

    monkeypatch.setattr(FileLock, "acquire", unsupported)
    with pytest.raises(FileNotFoundError, match="nothing here"), held(tmp_path, "fetch-x"):
        raise FileNotFoundError("nothing here")
