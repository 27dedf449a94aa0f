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

    __slots__ = ("_progress", "_seed", "_threads", "_verbosity")

    def __init__(self) -> None:
        self._seed = 2020
        self._threads = 0
        self._progress: Literal["auto"] | bool = "auto"
        self._verbosity = 1
        self.verbosity = 1

    @property
    def seed(self) -> int:
        """Seed of training."""
        return self._seed

    @seed.setter
    def seed(self, value: int) -> None:
        self._seed = whole("settings.seed", value)

    @property
    def threads(self) -> int:
        """How many threads; 0 takes every core."""
        return self._threads

    @threads.setter
    def threads(self, value: int) -> None:
        self._threads = whole("settings.threads", value)

    @property
    def progress(self) -> Literal["auto"] | bool:
        """Whether bars are shown."""
        return self._progress

    @progress.setter
    def progress(self, value: Literal["auto"] | bool) -> None:
        if value not in ("auto", True, False):
            raise ScgraftError(f'settings.progress: expected "auto", True or False, found {value!r}')
        self._progress = value

    @property
    def verbosity(self) -> int:
        """0: errors, 1: warnings, 2: what the library does."""
        return self._verbosity

    @verbosity.setter
    def verbosity(self, value: int) -> None:
        value = whole("settings.verbosity", value)
        self._verbosity = value
        _log.setLevel({0: logging.ERROR, 1: logging.WARNING}.get(value, logging.INFO))

    def __repr__(self) -> str:
        return (
            f"Settings(seed={self.seed}, threads={self.threads}, progress={self.progress!r}, verbosity={self.verbosity})"
        )


def whole(name: str, value: Any, least: int = 0) -> int:
    """A whole number, at least so much."""
    try:
        right = not isinstance(value, (bool, str)) and int(value) == value and value >= least
    except (TypeError, ValueError, OverflowError):
        right = False
    if not right:
        raise ScgraftError(f"{name}: expected a whole number, {least} or more, found {value!r}")
    return int(value)


def number(name: str, value: Any) -> float:
    """A number, 0 or more."""
    try:
        right = not isinstance(value, (bool, str)) and 0 <= float(value) < float("inf")
    except (TypeError, ValueError):
        right = False
    if not right:
        raise ScgraftError(f"{name}: expected a number, 0 or more, found {value!r}")
    return float(value)


settings = Settings()
"""The settings of this session."""
