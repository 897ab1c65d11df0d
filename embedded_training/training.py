"""What both training scripts share: optimizer, schedule, running mean, checkpoints, log."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

__all__ = ["Trainer", "save_checkpoint"]

_Model = TypeVar("_Model", bound=PreTrainedModel)
_LOG_EVERY = 20


class Trainer(Generic[_Model]):
    """Trains a model together with the heads that it is taught with and later loses.

    The learning rate rises over the first steps, stays, and falls linearly over the last
    quarter, so that a run can be prolonged from its checkpoint with a larger number of steps.

        trainer = Trainer(model, heads, folder / "training.pt", steps=1000, learning_rate=1e-3)
        for step in trainer.steps():
            trainer.update(step, loss, {"loss": loss.item()})
    """

    def __init__(
        self,
        model: _Model,
        heads: nn.Module,
        checkpoint: Path,
        *,
        steps: int,
        learning_rate: float,
        gently: Collection[nn.Parameter] = (),
        gently_share: float = 1.0,
        warm_up: int = 200,
        mean_decay: float = 0.998,
        save_every: int = 250,
    ) -> None:
        """Begin, or go on from the checkpoint if there is one.

        Args:
            model: what is trained.
            heads: what it is trained with, and later loses.
            checkpoint: file to write now and then.
            steps: how many there will be.
            learning_rate: the highest.
            gently: parameters of ``model`` that are learnt at another rate.
            gently_share: that rate, as a share of the learning rate.
            warm_up: steps over which the rate rises.
            mean_decay: the weights that are kept are a running mean, which is steadier; over some
                five hundred steps with 0.998, over a hundred with 0.99.
            save_every: steps between two checkpoints.
        """
        self._checkpoint, self._total, self._rate = checkpoint, steps, learning_rate
        self._warm_up, self._save_every = warm_up, save_every
        self._learnt = nn.ModuleList([model, heads])
        chosen = {id(parameter) for parameter in gently}
        others = [p for p in self._learnt.parameters() if id(p) not in chosen]
        self._optimizer = torch.optim.AdamW(
            [{"params": others, "share": 1.0}]
            + ([{"params": list(gently), "share": gently_share}] if gently else []),
            lr=learning_rate,
            weight_decay=0.02,
            betas=(0.9, 0.98),
        )
        self._mean = torch.optim.swa_utils.AveragedModel(
            model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(mean_decay)
        )
        self._start = 0
        self._began = time.monotonic()
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            self._learnt.load_state_dict(state["learnt"])
            self._mean.load_state_dict(state["mean"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._start = state["step"]

    @property
    def mean(self) -> _Model:
        """The model with the running mean of its weights."""
        return cast(_Model, self._mean.module)

    def steps(self) -> Iterator[int]:
        """The steps that are left."""
        for step in range(self._start, self._total):
            falling = (self._total - step) / (0.25 * self._total)
            rate = self._rate * min(1.0, (step + 1) / self._warm_up, falling)
            for group in self._optimizer.param_groups:
                group["lr"] = rate * group["share"]
            yield step

    def update(self, step: int, loss: Tensor, log: Mapping[str, float]) -> bool:
        """Take one step; print and save now and then. True where it has just saved."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if dist.is_initialized():
            _average([p for p in self._learnt.parameters() if p.requires_grad])
        nn.utils.clip_grad_norm_(self._learnt.parameters(), 1.0)
        self._optimizer.step()
        self._mean.update_parameters(self._learnt[0])
        if dist.is_initialized() and dist.get_rank():
            return False
        if step % _LOG_EVERY == 0:
            line = " ".join(f"{name} {value:.3f}" for name, value in log.items())
            print(f"{time.monotonic() - self._began:7.0f}s step {step} {line}", flush=True)
        due = (step + 1) % self._save_every == 0 or step + 1 == self._total
        if due:
            state = {
                "learnt": self._learnt.state_dict(),
                "mean": self._mean.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "step": step + 1,
            }
            temporary = self._checkpoint.with_suffix(".tmp")
            torch.save(state, temporary)
            temporary.replace(self._checkpoint)
        return due


def _average(parameters: Sequence[nn.Parameter]) -> None:
    """Make gradients the mean of all processes'; one that a process has none of counts as zero."""
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    joined = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(joined)
    joined /= dist.get_world_size()
    parts = joined.split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def save_checkpoint(model: PreTrainedModel, processor: ProcessorMixin, folder: Path) -> None:
    """Write what `from_pretrained` reads; half precision, which the weights' noise far exceeds."""
    halved = type(model)(model.config)
    halved.load_state_dict(model.state_dict())
    halved.generation_config = getattr(model, "generation_config", None)
    halved.half().save_pretrained(folder)
    processor.save_pretrained(folder)
