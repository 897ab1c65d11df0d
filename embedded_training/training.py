"""Shared by the training scripts: the training loop, options, mask losses, checkpoints."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

__all__ = ["Trainer", "mask_losses", "save_checkpoint", "start_training", "training_parser"]

_Model = TypeVar("_Model", bound=PreTrainedModel)
_LOG_EVERY = 20


def training_parser(description: str, *, steps: int, threads: int) -> argparse.ArgumentParser:
    """A parser with the options that all training scripts have.

    Args:
        description: text of the help.
        steps: default of ``--steps``.
        threads: default of ``--threads``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("pool", type=Path, help="folder of the training pool")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--threads", type=int, default=threads)
    return parser


def start_training(options: argparse.Namespace) -> None:
    """Set the number of threads and seed torch."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)


class Trainer(Generic[_Model]):
    """The training loop of a model and its auxiliary heads, which are not saved with it.

    Optimizer, learning rate schedule, running mean of the weights, checkpoints and log. The
    learning rate rises over the first steps, stays, and falls linearly over the last quarter, so
    that a run can be extended from its checkpoint with a larger number of steps.

        trainer = Trainer(model, heads, folder / "training.pt", steps=1000, learning_rate=1e-3)
        averaged = trainer.train(step_loss, save)
    """

    def __init__(
        self,
        model: _Model,
        heads: nn.Module,
        checkpoint: Path,
        *,
        steps: int,
        learning_rate: float,
        slow_parameters: Collection[nn.Parameter] = (),
        slow_share: float = 1.0,
        warm_up: int = 200,
        mean_decay: float = 0.998,
        save_every: int = 250,
    ) -> None:
        """Start, or resume from the checkpoint if the file exists.

        Args:
            model: the model to train.
            heads: auxiliary heads, trained along.
            checkpoint: file of the training state.
            steps: number of steps of the whole training.
            learning_rate: the highest.
            slow_parameters: parameters of ``model`` with a lower learning rate.
            slow_share: that rate as a share of the learning rate.
            warm_up: steps over which the rate rises.
            mean_decay: decay of the running mean of the weights, which is what is saved, since it
                is steadier; it spans about five hundred steps with 0.998, a hundred with 0.99.
            save_every: steps between two checkpoints.
        """
        self._checkpoint, self._total, self._rate = checkpoint, steps, learning_rate
        self._warm_up, self._save_every = warm_up, save_every
        self._trained = nn.ModuleList([model, heads])
        slow = {id(parameter) for parameter in slow_parameters}
        others = [p for p in self._trained.parameters() if id(p) not in slow]
        self._optimizer = torch.optim.AdamW(
            [{"params": others, "share": 1.0}]
            + ([{"params": list(slow_parameters), "share": slow_share}] if slow_parameters else []),
            lr=learning_rate,
            weight_decay=0.02,
            betas=(0.9, 0.98),
        )
        self._mean = torch.optim.swa_utils.AveragedModel(
            model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(mean_decay)
        )
        self._start = 0
        self._start_time = time.monotonic()
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            self._trained.load_state_dict(state["learnt"])
            self._mean.load_state_dict(state["mean"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._start = state["step"]

    @property
    def mean(self) -> _Model:
        """The model with the running mean of its weights."""
        return cast(_Model, self._mean.module)

    def train(
        self,
        step_loss: Callable[[int], tuple[Tensor, Mapping[str, float]]],
        save: Callable[[_Model], None],
    ) -> _Model:
        """Take the remaining steps.

        Args:
            step_loss: loss of a step, by its index, and values for the log.
            save: saves the model with the running mean of its weights, at every checkpoint.

        Returns:
            The model with the running mean of its weights.
        """
        for step in range(self._start, self._total):
            falling = (self._total - step) / (0.25 * self._total)
            rate = self._rate * min(1.0, (step + 1) / self._warm_up, falling)
            for group in self._optimizer.param_groups:
                group["lr"] = rate * group["share"]
            loss, log = step_loss(step)
            self._update(loss)
            if dist.is_initialized() and dist.get_rank():
                continue
            if step % _LOG_EVERY == 0:
                line = " ".join(f"{name} {value:.3f}" for name, value in log.items())
                print(f"{time.monotonic() - self._start_time:7.0f}s step {step} {line}", flush=True)
            if (step + 1) % self._save_every == 0 or step + 1 == self._total:
                self._write_checkpoint(step + 1)
                save(self.mean)
        return self.mean

    def _update(self, loss: Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if dist.is_initialized():
            _average_gradients([p for p in self._trained.parameters() if p.requires_grad])
        nn.utils.clip_grad_norm_(self._trained.parameters(), 1.0)
        self._optimizer.step()
        self._mean.update_parameters(self._trained[0])

    def _write_checkpoint(self, step: int) -> None:
        state = {
            "learnt": self._trained.state_dict(),
            "mean": self._mean.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": step,
        }
        temporary = self._checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self._checkpoint)


def _average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace gradients by their mean over all processes; a missing gradient counts as zero."""
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    joined = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(joined)
    joined /= dist.get_world_size()
    parts = joined.split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def mask_losses(logits: Tensor, target: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    """Dice plus cross-entropy, where the surroundings of the object weigh as much as the rest.

    Args:
        logits: ``(n, k, s, s)``.
        target: ``(n, 1, s, s)``: true share of each cell.
        near: ``(n, 1, s, s)`` ``bool``: the object and its surroundings; not empty.

    Returns:
        Loss and IoU, ``(n, k)`` each; the IoU without gradients.
    """
    target = target.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    inside = (entropy * near).sum((2, 3)) / near.sum((2, 3))
    outside = (entropy * ~near).sum((2, 3)) / (~near).sum((2, 3)).clamp(min=1)
    probability = logits.sigmoid()
    overlap = (probability * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + target.sum((2, 3)) + 1)
    with torch.no_grad():
        predicted, truth = logits > 0, target > 0.5
        union = (predicted | truth).sum((2, 3)).clamp(min=1)
        iou = (predicted & truth).sum((2, 3)) / union
    return inside + outside + dice, iou


def save_checkpoint(model: PreTrainedModel, processor: ProcessorMixin, folder: Path) -> None:
    """Write a checkpoint for `from_pretrained`, in half precision, which is accurate enough."""
    halved = type(model)(model.config)
    halved.load_state_dict(model.state_dict())
    halved.generation_config = getattr(model, "generation_config", None)
    halved.half().save_pretrained(folder)
    processor.save_pretrained(folder)
