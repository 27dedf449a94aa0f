"""A bar for the epochs of a fit."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from ._settings import settings


def _wanted() -> bool:
    if settings.progress != "auto":
        return bool(settings.progress)
    if "ipykernel" in sys.modules:
        return True
    return bool(getattr(sys.stderr, "isatty", lambda: False)())


class Epochs:
    """Told of every epoch by the library; draws a bar where one is wanted, and tells a function of the user's.

    ``total`` is set by the library before the first epoch.
    """

    def __init__(self, what: str, progress: bool | None, callback: Callable[[dict[str, Any]], bool | None] | None):
        self.what = what
        self.total = 0
        self.callback = callback
        self.bar: Any = None
        self.shown = _wanted() if progress is None else progress

    def __call__(self, epoch: int, train: float, validation: float | None) -> bool:
        if self.shown:
            self._draw(epoch, train, validation)
        if self.callback is None:
            return False
        return bool(self.callback({"epoch": epoch, "epochs": self.total, "train": train, "validation": validation}))

    def _draw(self, epoch: int, train: float, validation: float | None) -> None:
        if self.bar is None:
            try:
                with warnings.catch_warnings():  # a notebook without widgets gets the bar of a terminal
                    warnings.simplefilter("ignore")
                    from tqdm.auto import tqdm
            except ImportError:
                self.shown = False
                return
            self.bar = tqdm(total=self.total, desc=self.what, unit="epoch", leave=False)
        told = {"loss": f"{train:.1f}"}
        if validation is not None:
            told["validation"] = f"{validation:.1f}"
        self.bar.set_postfix(told, refresh=False)
        self.bar.update(epoch + 1 - self.bar.n)

    def __enter__(self) -> Epochs:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
