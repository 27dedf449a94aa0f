"""What the library is asked, as it takes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from ._native import ScgraftError
from ._settings import number, whole
from ._settings import settings as session

FIT = (
    "max_epochs", "batch_size", "lr", "weight_decay", "kl_anneal", "kl_anneal_steps", "train_size", "patience",
    "early_stopping", "stratified", "samples_per_label", "thinning", "published",
)  # fmt: skip
"""What a fit takes, by name."""


def as_json(options: dict[str, Any]) -> str:
    """Options as the library reads them."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, (np.ndarray, tuple, set)):
            return list(value)
        raise ScgraftError(f"a setting is a {type(value).__name__}; expected numbers, texts or lists of them")

    return json.dumps(options, default=plain)


def pairs(label_map: Mapping[str, str] | None) -> list[list[str]]:
    """What labels are called in the reference, old names with new ones."""
    return [[str(a), str(b)] for a, b in dict(label_map or {}).items()]


def fit_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a call was given of them, with the seed."""
    fit = {k: given[k] for k in FIT if given.get(k) is not None}
    for name in ("max_epochs", "batch_size", "patience", "samples_per_label", "kl_anneal", "kl_anneal_steps"):
        if name in fit:
            fit[name] = whole(name, fit[name], 0 if name.startswith("kl") else 1)
    for name in ("lr", "weight_decay", "train_size"):
        if name in fit:
            fit[name] = number(name, fit[name])
    if not 0 < fit.get("train_size", 1) <= 1:
        raise ScgraftError(f"train_size={fit['train_size']!r}: expected a share above 0 and at most 1")
    return fit | {"seed": session.seed if given["seed"] is None else whole("seed", given["seed"])}


def settings_of(given: Mapping[str, Any], other: Callable[..., Any], here: str, there: str) -> dict[str, Any]:
    """Settings of a model, among which no argument of the other function is."""
    for name in given:
        if name in signature(other).parameters and name not in FIT:
            raise ScgraftError(f"{name}: {there} takes it, {here} does not")
    return {k: v for k, v in given.items() if k not in FIT}


def threads_of(threads: int | None) -> int:
    """How many threads: those of this call, else of the session."""
    return session.threads if threads is None else whole("threads", threads)


def checkpoint_of(checkpoint: str | Path | None, resume: bool, every: int) -> str | None:
    """Where a fit keeps its state."""
    if checkpoint is None:
        if resume:
            raise ScgraftError("resume=True: name the checkpoint to go on from: checkpoint=")
        return None
    if not Path(checkpoint).absolute().parent.is_dir():
        raise FileNotFoundError(f"checkpoint={str(checkpoint)!r}: there is no such folder")
    return as_json({"file": str(checkpoint), "every": whole("checkpoint_every", every), "resume": bool(resume)})
