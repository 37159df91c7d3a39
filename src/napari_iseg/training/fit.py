"""The training loop: Lightning Fabric for devices and precision, checkpoints from which a run goes on
exactly.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from napari_iseg.errors import CheckpointError, DeviceError, InputError, SaveError
from napari_iseg.files import give_name, real_place, remove, temporary_beside
from napari_iseg.training.bank import Bank
from napari_iseg.training.held_out import check_split, not_comparable, scored_by
from napari_iseg.training.indexed import IndexedSamples
from napari_iseg.training.interrupt import ctrl_c_noted
from napari_iseg.training.log import Progress
from napari_iseg.training.recipe import OptimRecipe, Recipe
from napari_iseg.training.task import Step, Task, Validate, task_for
from napari_iseg.training.whole import check_finite, check_whole, first_line

_MOST_ODD = 50  # steps in a row without finite gradients, after which a run has failed


def rate_at(step: int, optim: OptimRecipe) -> float:
    """Learning rate of a step: linear warm-up, constant, cosine to a hundredth."""
    if step < optim.warmup:
        return optim.rate * (step + 1) / optim.warmup
    start = optim.falls_from
    if step <= start:
        return optim.rate
    done = min(1.0, (step - start) / max(1, optim.steps - start))
    return optim.rate * (0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * done))))


def is_first_process() -> bool:
    """Whether this is the one of a run's processes that writes and tells; known before they are launched."""
    return getattr(rank_zero_only, "rank", 0) == 0


def make_fabric(recipe: Recipe) -> Fabric:
    """The recipe's devices and precision, not yet launched.

    Raises
    ------
    InputError
        When there are fewer GPUs than devices asked for.
    """
    wanted, found = recipe.devices, torch.cuda.device_count()
    if recipe.accelerator == "cuda" and not found:
        raise InputError("The recipe's accelerator is 'cuda' but there is no GPU here; use 'auto' or 'cpu'.")
    if recipe.accelerator != "cpu" and wanted != "auto" and int(wanted) > max(1, found):
        raise InputError(
            f"Training on {wanted} GPUs was asked for but {found} were found; give --devices "
            f"{max(1, found)}, or set accelerator = 'cpu' in the recipe for as many processes on the CPU."
        )
    return Fabric(accelerator=recipe.accelerator, devices=wanted, precision=recipe.precision)  # type: ignore[arg-type]


class Trainer:
    """A run in a folder: ``last.ckpt`` (everything), ``best.ckpt`` (averaged weights), ``log.csv``.

    A killed run that is started again in the same folder goes on from ``last.ckpt`` and ends with the same
    weights as a run that was never killed: samples and clicks follow from (seed, step), not from how often
    the process started. Ctrl-C ends the step and keeps it; a second one stops at once.

    Parameters
    ----------
    validate : scores of the averaged network; the lowest ``score`` decides ``best.ckpt``, of equal ones the
        highest ``iou``, then the latest
    task : how the recipe's backend is trained; default: the one `task_for` knows
    fabric : devices, launched; default: those of the recipe
    tell : told in words that earlier scores cannot be compared with later ones
    held_out : what is validated on, as `evaluation.left_out.left_out_table` tells it; another is refused

    Attributes
    ----------
    seconds : how long training has taken, with all starts before this one
    samples : what the run draws from, once it has begun
    """

    def __init__(
        self,
        recipe: Recipe,
        bank: Bank,
        folder: Path,
        validate: Validate | None = None,
        task: Task | None = None,
        fabric: Fabric | None = None,
        tell: Callable[[str], object] | None = None,
        held_out: Mapping[str, Any] | None = None,
    ) -> None:
        self.recipe = recipe
        self.task = task or task_for(recipe.backend)
        self.bank = bank
        self.folder = folder
        self.validate = validate
        self.fabric = fabric or make_fabric(recipe)
        self.tell = tell
        self.held_out = dict(held_out or {})
        self.samples: IndexedSamples[Any] | None = None
        self.seconds = self._started = 0.0
        self._best_iou = float("-inf")
        self._odd = 0  # steps in a row without finite gradients
        folder.mkdir(parents=True, exist_ok=True)

    def build(self) -> nn.Module:
        """The network with seeded random weights (or the recipe's start)."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.recipe.seed)  # a GPU's draws are left alone
            net = self.task.build(self.recipe).to(memory_format=torch.channels_last)
        keep_fixed(net, self.recipe.optim.only)
        return net

    def run(self, on_step: Callable[[Progress], object] | None = None) -> nn.Module:
        """Train to the recipe's last step and return the averaged network; torch's own draws go on as before.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, with the steps until then kept.
        """
        self.fabric.launch()
        device = self.fabric.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            return self._run(on_step)

    def _run(self, on_step: Callable[[Progress], object] | None) -> nn.Module:
        net, average = self.build(), self.build().eval().requires_grad_(False)
        optimizer = torch.optim.AdamW(_groups(net, self.recipe.optim.weight_decay), lr=self.recipe.optim.rate)
        module, wrapped = self.fabric.setup(net, optimizer)
        for name in getattr(net, "training_methods", ()):
            module.mark_forward_method(name)
        self.fabric.to_device(average)
        state: dict[str, Any] = {
            "net": module,
            "optimizer": wrapped,
            "average": average,
            "step": 0,
            "best": float("inf"),
        }
        self._started = time.perf_counter() - self._resume(state)
        with ctrl_c_noted() as asked_to_stop:
            for batch in self._batches(state["step"]):
                progress = self._one(state, batch)
                if on_step is not None:
                    on_step(progress)
                if self._anywhere(asked_to_stop()):
                    self._keep(state)
                    raise KeyboardInterrupt
        return average

    def _anywhere(self, asked: bool) -> bool:
        """Whether any process was asked: all must stop after the same step, as one waits for the others."""
        if self.fabric.world_size == 1:
            return asked
        # On the device: NCCL knows no others.
        return bool(
            self.fabric.all_reduce(self.fabric.to_device(torch.tensor(float(asked))), reduce_op="sum")
        )

    def _one(self, state: dict[str, Any], batch: dict[str, Tensor]) -> Progress:
        """A step with what falls due after it."""
        step, optim = state["step"], self.recipe.optim
        loss, terms = self._step(state["net"], state["optimizer"], state["average"], batch, step)
        state["step"] = step + 1
        scores = self._after(state)
        return Progress(step + 1, optim.steps, loss, rate_at(step, optim), self.seconds, scores, terms)

    def _resume(self, state: dict[str, Any]) -> float:
        """Fill ``state`` from the last checkpoint, if there is one; answers with the seconds so far.

        Raises
        ------
        CheckpointError
            When the checkpoint is damaged or of another network.
        InputError
            When it is of a later step than the recipe's last, or other pictures were held out.
        """
        last = self.folder / "last.ckpt"
        if last.exists():
            try:
                check_whole(last)
                rest = self.fabric.load(last, state)
            except Exception as error:  # a damaged file is told by whatever its reader stumbles on
                raise CheckpointError(
                    f"The checkpoint {last} cannot be read ({first_line(error)}); restore it, or "
                    "delete it to begin anew."
                ) from None
            self.seconds = float(rest.get("seconds", 0.0))  # older checkpoints do not know,
            self._best_iou = float(rest.get("best_iou", "-inf"))  # nor this,
            self._compare(state, rest)
            if rest.get("precision"):  # nor this, which is empty unless losses are scaled
                self.fabric.strategy.precision.load_state_dict(rest["precision"])
        if state["step"] > self.recipe.optim.steps:
            raise InputError(
                f"The run in {self.folder} has taken {state['step']} steps already, more than the "
                f"{self.recipe.optim.steps} asked for; ask for at least as many, or give another --out."
            )
        return self.seconds

    def _compare(self, state: dict[str, Any], rest: dict[str, Any]) -> None:
        """Forget the best so far where it was scored by others: it might bar all later ones."""
        known = check_split(self.folder, self.recipe, rest.get("held_out"), self.held_out)
        said = not_comparable(self.recipe, rest.get("scored_by", {}), known, state["step"])
        if said and state["best"] < float("inf"):
            state["best"], self._best_iou = float("inf"), float("-inf")
            if self.tell is not None and self.validate is not None:
                self.tell(said)

    def _step(
        self, module: Any, optimizer: Any, average: nn.Module, batch: dict[str, Tensor], step: int
    ) -> tuple[float, dict[str, float]]:
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, step, self.fabric.global_rank + 1))
        shared = np.random.default_rng((recipe.seed, step))
        # Dropout draws from torch's own generator, which a resumed run must find as it was.
        dropout = np.random.SeedSequence((recipe.seed, step, self.fabric.global_rank + 1, 1))
        torch.manual_seed(int(dropout.generate_state(1)[0]))
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, recipe.optim)
        batch = {key: self.fabric.to_device(value) for key, value in batch.items()}
        module.train()
        made = self.task.loss(Step(module, batch, recipe, shared, lambda n: int(rng.integers(n))))
        self.fabric.backward(made.total)
        norm = self.fabric.clip_gradients(
            module, optimizer, max_norm=recipe.optim.clip, error_if_nonfinite=False
        )
        self._step_where_finite(optimizer, norm, step)
        optimizer.zero_grad()
        # A short run's average must not remember the random start, so the memory grows with the run.
        memory = min(recipe.optim.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, new in zip(average.state_dict().values(), module.state_dict().values(), strict=True):
                kept.lerp_(new, 1 - memory) if kept.is_floating_point() else kept.copy_(new)
        return float(made.total.detach()) / made.weight, made.terms

    def _step_where_finite(self, optimizer: torch.optim.Optimizer, norm: Tensor | None, step: int) -> None:
        """One odd batch among thousands must not end a run: without finite gradients it is passed over.

        In 16-bit floats the scaler of the losses does that itself, and only a step makes its scale smaller.

        Raises
        ------
        InputError
            When that happens many times in a row: then the run has failed.
        """
        finite = norm is None or bool(torch.isfinite(norm))
        if finite or getattr(self.fabric.strategy.precision, "scaler", None) is not None:
            optimizer.step()
        if finite:
            self._odd = 0
            return
        self._odd += 1
        if self._odd >= _MOST_ODD:
            raise InputError(
                f"The gradients of {_MOST_ODD} steps up to {step} were not finite; go on with precision = "
                "'32-true' if it was another, or start anew in another --out with a lower rate."
            )

    def _after(self, state: dict[str, Any]) -> dict[str, float]:
        """Validation and checkpoints that fall due after this step."""
        step, recipe = state["step"], self.recipe
        last_step = step >= recipe.optim.steps
        scores: dict[str, float] = {}
        if self.validate is not None and (step % recipe.validation.every == 0 or last_step):
            scores = _scored(self.validate, state["average"], step)
            # While no object reaches the IoU asked for, the NoC is at its limit and tells nothing.
            iou = scores.get("iou", 0.0)
            if (scores["score"], -iou) <= (state["best"], -self._best_iou):
                state["best"], self._best_iou = scores["score"], iou
                self._save(
                    self.folder / "best.ckpt",
                    {
                        "net": state["average"].state_dict(),
                        "step": step,
                        "scores": scores,
                        "scored_by": scored_by(recipe),
                    },
                )
        self.seconds = time.perf_counter() - self._started
        if step % recipe.keep_every == 0 or last_step:
            self._keep(state)
        return scores

    def _keep(self, state: dict[str, Any]) -> None:
        precision = self.fabric.strategy.precision.state_dict()
        rest = {"seconds": self.seconds, "best_iou": self._best_iou, "precision": precision}
        self._save(
            self.folder / "last.ckpt",
            {**state, **rest, "scored_by": scored_by(self.recipe), "held_out": self.held_out},
        )

    def _save(self, path: Path, state: dict[str, Any]) -> None:
        # Fabric takes a path and no stream, so `replacing` cannot be used
        part = temporary_beside(real_place(path))
        try:
            self.fabric.save(part, state)
            if self.fabric.is_global_zero:
                with part.open("rb+") as file:
                    os.fsync(file.fileno())  # else a power cut may keep the new name without what is in it
                give_name(part, path)
        except (OSError, RuntimeError) as error:  # torch's writer tells of a full disk by a RuntimeError
            if not self.fabric.is_global_zero:
                raise SaveError(f"The first process ended while it wrote {path}; see what it says.") from None
            raise SaveError(
                f"The checkpoint {path} could not be written ({first_line(error)}); make room or the folder "
                "writable and give the command again: the run goes on from the checkpoint before."
            ) from error
        finally:
            remove(part)

    def _batches(self, start: int) -> Iterator[dict[str, Tensor]]:
        recipe = self.recipe
        per_step = recipe.optim.batch * self.fabric.world_size
        total, first = recipe.optim.steps * per_step, start * per_step
        self.samples = samples = self.task.samples(recipe, self.bank, total)
        mine = range(first + self.fabric.global_rank, total, self.fabric.world_size)
        return ahead(
            samples,
            [mine[i : i + recipe.optim.batch] for i in range(0, len(mine), recipe.optim.batch)],
            recipe.workers,
        )


def _scored(validate: Validate, average: nn.Module, step: int) -> dict[str, float]:
    """The scores of the averaged network, if it can be scored at all.

    Raises
    ------
    CheckpointError
        When the run has diverged: the weights hold NaN or infinity, or are so large that the answers do.
    """
    check_finite(average.state_dict())
    try:
        return validate(average, step)
    except DeviceError as error:
        if error.__context__ is not None:  # a GPU whose memory is too small, as torch told
            raise
        raise CheckpointError(
            f"The run has diverged: after step {step} its network answers with NaN instead of numbers; start "
            "anew in another --out with a lower rate, or with precision = '32-true' if it was another."
        ) from error


def keep_fixed(net: nn.Module, only: Sequence[str]) -> None:
    """Let nothing learn but the parts of ``net`` that are named in ``only``; all of it where none is named.

    Raises
    ------
    InputError
        When the network has no part of a name.
    """
    for part in only:
        if not any(name == part or name.startswith(f"{part}.") for name, _ in net.named_parameters()):
            known = sorted({name.split(".")[0] for name, _ in net.named_parameters()})
            raise InputError(
                f"The network has no part {part!r} that the recipe's [optim] only names; its parts are "
                f"{', '.join(known)}."
            )
    if only:
        for name, parameter in net.named_parameters():
            learns = any(name == part or name.startswith(f"{part}.") for part in only)
            parameter.requires_grad_(learns and parameter.requires_grad)


def ahead(
    samples: Dataset[dict[str, Tensor]], batches: Sequence[range], workers: int
) -> Iterator[dict[str, Tensor]]:
    """Batches in order, made by threads a little ahead of their use.

    Threads, not processes: making a sample is numpy and OpenCV, which let go of the interpreter, and the
    pictures need not be copied. (Forked loader processes hang once OpenMP has run in the parent.)
    """
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting: deque[list[Future[dict[str, Tensor]]]] = deque()
        for indices in batches:
            waiting.append([pool.submit(samples.__getitem__, index) for index in indices])
            if len(waiting) > 3:
                yield default_collate([future.result() for future in waiting.popleft()])
        while waiting:
            yield default_collate([future.result() for future in waiting.popleft()])


def _groups(net: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels, none on biases and norms."""
    wide = [p for p in net.parameters() if p.ndim > 1]
    narrow = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": wide, "weight_decay": decay}, {"params": narrow, "weight_decay": 0.0}]
