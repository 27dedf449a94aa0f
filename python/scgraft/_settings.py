"""What holds for every call unless it says otherwise."""

from __future__ import annotations

import logging
from typing import Any, Literal

from ._native import ScgraftError

_log = logging.getLogger("scgraft")


class Settings:
    """Seed, threads and talk of every call that does not say otherwise.

    Attributes
    ----------
    seed
        Seed of everything random in training, 2020 as on the command line. Analyses (UMAP, Leiden, draws) start from 0
        unless they are told a seed.
    threads
        How many threads; 0 takes every core. Results do not depend on it.
    progress
        ``"auto"`` shows bars in notebooks and terminals where tqdm is installed, and nothing elsewhere; ``True`` and
        ``False`` decide it.
    verbosity
        0 shows errors only, 1 warnings, 2 what the library does, on the logger ``"scgraft"``.

    Examples
    --------
    >>> import scgraft as sg
    >>> sg.settings.threads = 2
    >>> sg.settings.threads
    2
    >>> sg.settings.threads = 0
    """

    __slots__ = ("progress", "seed", "threads", "verbosity")

    seed: int
    threads: int
    progress: Literal["auto"] | bool
    verbosity: int

    def __init__(self) -> None:
        self.seed, self.threads, self.progress, self.verbosity = 2020, 0, "auto", 1

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "progress" and value not in ("auto", True, False):
            raise ScgraftError(f'settings.progress: expected "auto", True or False, found {value!r}')
        super().__setattr__(name, value if name == "progress" else whole(f"settings.{name}", value))
        if name == "verbosity":
            _log.setLevel({0: logging.ERROR, 1: logging.WARNING}.get(self.verbosity, logging.INFO))

    def __repr__(self) -> str:
        return (
            f"Settings(seed={self.seed}, threads={self.threads}, progress={self.progress!r}, verbosity={self.verbosity})"
        )


def number(name: str, value: Any, what: str = "a number, 0 or more") -> float:
    """A number, 0 or more."""
    try:
        right = not isinstance(value, (bool, str)) and 0 <= float(value) < float("inf")
    except (TypeError, ValueError, OverflowError):
        right = False
    if not right:
        raise ScgraftError(f"{name}: expected {what}, found {value!r}")
    return float(value)


def whole(name: str, value: Any, least: int = 0) -> int:
    """A whole number, at least so much."""
    what = f"a whole number, {least} or more"
    if number(name, value, what) < least or int(value) != value:
        raise ScgraftError(f"{name}: expected {what}, found {value!r}")
    return int(value)


settings = Settings()
"""The settings of this session."""
