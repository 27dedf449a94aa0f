"""Files of models and adaptors: where an address leads, and the card that goes beside a shared one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import _native
from ._adata import listed, need
from ._native import ScgraftError
from ._plan import _json


def _fetched(path: str | Path, offline: bool = False) -> str:
    """The file itself, or what an address names."""
    if not isinstance(path, (str, Path)):
        raise ScgraftError(f"expected the path or the address of a file, found {type(path).__name__}")
    found = _native.fetch(str(path), offline)
    return str(path) if found is None else found["path"]


WORDS = ("title", "summary", "authors", "licence", "data", "organism", "tissues", "metrics", "cite", "related", "reference")
"""What a card says that its file does not know."""


def _words(words: dict[str, Any]) -> str:
    for name in words:
        need("a card has no such word", WORDS, words=name)
    several = {k: listed(words[k]) for k in ("authors", "tissues", "related") if words.get(k)}
    metrics = [[str(k), v] for k, v in dict(words.get("metrics") or {}).items()]
    return _json({**{k: v for k, v in words.items() if v is not None}, **several, "metrics": metrics})
