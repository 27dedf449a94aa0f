"""What a fit takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from ._native import ScgraftError
from ._settings import number, whole
from ._settings import settings as session

FIT = (
    "max_epochs", "batch_size", "lr", "weight_decay", "kl_anneal", "kl_anneal_steps", "train_size", "patience",
    "early_stopping", "stratified", "samples_per_label", "thinning", "published",
)  # fmt: skip
"""What a fit takes, by name."""


def _fit(given: Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    fit = {k: given[k] for k in FIT if given.get(k) is not None}
    for name in ("max_epochs", "batch_size", "patience", "samples_per_label", "kl_anneal", "kl_anneal_steps"):
        if name in fit:
            fit[name] = whole(name, fit[name], 0 if name.startswith("kl") else 1)
    for name in ("lr", "weight_decay", "train_size"):
        if name in fit:
            fit[name] = number(name, fit[name])
    if not 0 < fit.get("train_size", 1) <= 1:
        raise ScgraftError(f"train_size={fit['train_size']!r}: expected a share above 0 and at most 1")
    fit["seed"] = session.seed if seed is None else whole("seed", seed)
    return fit


def _settings(given: Mapping[str, Any], other: Callable[..., Any], here: str, there: str) -> dict[str, Any]:
    """Settings of a model, among which no argument of the other function is."""
    for name in given:
        if name in signature(other).parameters and name not in FIT:
            raise ScgraftError(f"{name}: {there} takes it, {here} does not")
    return {k: v for k, v in given.items() if k not in FIT}


def _threads(threads: int | None) -> int:
    return session.threads if threads is None else whole("threads", threads)


def _checkpoint(checkpoint: str | Path | None, resume: bool, every: int) -> str | None:
    if checkpoint is None:
        if resume:
            raise ScgraftError("resume=True: name the checkpoint to go on from: checkpoint=")
        return None
    if not Path(checkpoint).absolute().parent.is_dir():
        raise FileNotFoundError(f"checkpoint={str(checkpoint)!r}: there is no such folder")
    return json.dumps({"file": str(checkpoint), "every": whole("checkpoint_every", every), "resume": bool(resume)})
