"""What the library is asked, as it takes it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ._native import ScgraftError


def _json(options: dict[str, Any]) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, (np.ndarray, tuple, set)):
            return list(value)
        raise ScgraftError(f"a setting is a {type(value).__name__}; expected numbers, texts or lists of them")

    return json.dumps(options, default=plain)


def picture_plan(what: str, **given: Any) -> str:
    """What a picture is asked to show, as the library takes it."""
    plan: dict[str, Any] = {
        "what": what, "title": "", "names": [], "color": None, "color_reference": False, "groups": None, "split": None,
        "group": None, "programs": [], "among": None, "direction": None, "top": None, "labels": None, "truth": None,
        "renamed": [], "slot": "X", "layer": None, "gene_key": None, "size": None, "seed": 0,
    }  # fmt: skip
    return _json({**plan, **given})
