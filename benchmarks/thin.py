"""Thin structures before and after refinement: ``python benchmarks/thin.py MODEL [--sides 150 420 1200]``.

Combs, nets and hairs of two to three pixels in pictures of several sizes, refined from a blob that fills or
loses them. The IoU is taken over the thin parts and two pixels around them.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from thin_shapes import SHAPES, blob, picture, thin_iou

from napari_iseg.errors import InputError
from napari_iseg.interactive.edges import refine_edges
from napari_iseg.weights.store import load_edge_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="name of a refinement model, or the path of a checkpoint")
    parser.add_argument("--sides", type=int, nargs="+", default=[150, 420, 1200])
    parser.add_argument("--contrast", type=float, default=0.35)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_edge_model(options.model, precision="float32")
    print("| shape | side | thin IoU coarse | refined | IoU coarse | refined | processor s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    scores = []
    for side in options.sides:
        for name, make in SHAPES.items():
            truth = make(side)
            coarse = blob(truth)
            started = time.process_time()
            try:
                refined = refine_edges(picture(truth, options.contrast), coarse, model)
            except InputError:  # it lost the object: the coarse mask stays
                refined = coarse
            seconds = time.process_time() - started
            masks = (coarse, refined)
            row = [thin_iou(mask, truth) for mask in masks]
            row += [np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth) for mask in masks]
            scores.append(row)
            shown = " | ".join(f"{value:.3f}" for value in row)
            print(f"| {name} | {side} | {shown} | {seconds:.1f} |", flush=True)
    print(f"| **mean** | | {' | '.join(f'{value:.3f}' for value in np.mean(scores, 0))} | |")


if __name__ == "__main__":
    main()
