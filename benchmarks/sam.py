"""A second prompt on an encoded picture against encoding anew: ``python benchmarks/sam.py [VARIANT]``.

Times are of the whole answer as the click loop gives it (window, network, mask at full size), best of a few
rounds that alternate, with random weights: how long a network takes does not depend on what it has learned.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from napari_iseg import backends
from napari_iseg.backends.cards import ModelCard
from napari_iseg.backends.embeddings import EmbeddingCache
from napari_iseg.backends.model import Model
from napari_iseg.images import PlaneSource
from napari_iseg.interactive.predictor import Predictor
from napari_iseg.prompts import Click


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", nargs="?", default="starter")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=512, help="of the square image")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    card = ModelCard("random", "sam", options.variant, prompts=("click", "box"))
    model = Model(card, backends.get_click("sam").build(options.variant), device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (options.side, options.side, 3), np.uint8)
    predictor = Predictor(PlaneSource.wrap(image, rgb=True), model)
    first = predictor.step(None, Click(100, 100))
    anew, again, cpu = [], [], []
    for _ in range(options.rounds):
        model.embeddings = EmbeddingCache()
        started = time.perf_counter()
        predictor.step(first, Click(200, 200, False))
        anew.append(time.perf_counter() - started)
        started, used = time.perf_counter(), time.process_time()
        predictor.step(first, Click(200, 200, False))
        again.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    slow, fast = 1000 * min(anew), 1000 * min(again)
    print(f"{options.variant}, {options.side} x {options.side} pixels, {options.threads} threads")
    print(f"encoded anew   {slow:8.1f} ms")
    print(f"second prompt  {fast:8.1f} ms  ({1000 * min(cpu):.1f} ms of processor time)")
    print(f"ratio          {fast / slow:8.3f}")


if __name__ == "__main__":
    main()
