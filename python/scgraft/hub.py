"""Models on their way: fetched from Zenodo, Hugging Face or a server, and sent there.

An address (``zenodo:1234567``, ``doi:…``, ``hf:lab/atlas@v1.0``, ``https://…``) stands as well wherever a model or an adaptor
is named: :func:`scgraft.load`, :meth:`scgraft.Adaptor.load`, :func:`scgraft.tl.map`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from . import _native
from ._adata import listed, need
from ._native import ScgraftError
from ._plan import as_json

__all__ = ["listing", "pull", "push"]

WORDS = ("title", "summary", "authors", "licence", "data", "organism", "tissues", "metrics", "cite", "related", "reference")
"""What a card says that its file does not know."""


def pull(address: str, path: str | Path | None = None, *, offline: bool = False) -> dict[str, Any]:
    """Fetch a file, and make one of your own of it.

    Parameters
    ----------
    address
        ``zenodo:RECORD[/FILE]``, ``doi:…``, ``hf:ORG/NAME[@REVISION][/FILE]`` or ``https://…``.
    path
        Where to write it, a file or a folder; under its own name, here, unless told.
    offline
        Look among what was fetched before, and do not ask the network.

    Returns
    -------
    ``file``; ``pinned``, the address that will always name these bytes; ``sha256``; ``bytes``; ``from_cache``.

    Raises
    ------
    ScgraftError
        No address; what the service says; a file that is damaged.

    Examples
    --------
    >>> import scgraft as sg
    >>> sg.hub.pull("atlas.scgraft")
    Traceback (most recent call last):
        ...
    scgraft.ScgraftError: 'atlas.scgraft' is no address; expected zenodo:RECORD, doi:…, hf:ORG/NAME or https://…
    """
    found = _native.fetch(str(address), offline)
    if found is None:
        raise ScgraftError(f"{str(address)!r} is no address; expected zenodo:RECORD, doi:…, hf:ORG/NAME or https://…")
    to = Path(found["name"]) if path is None else Path(path)
    if to.is_dir():
        to = to / found["name"]
    _native.copied(found.pop("path"), str(to))
    found.pop("name")
    return {"file": str(to), **found}


def listing(address: str) -> pd.DataFrame:
    """What a record of Zenodo or a repository of Hugging Face holds.

    Parameters
    ----------
    address
        ``zenodo:RECORD``, ``doi:…`` or ``hf:ORG/NAME[@REVISION]``.

    Returns
    -------
    One row a file, by name: ``bytes``, ``checksum``. ``attrs`` has ``title``, ``version``, ``published``, ``licence``,
    ``doi``, ``page``, and ``pinned``, the address that will always name this state.
    """
    found = _native.listing(str(address))
    table = pd.DataFrame(found.pop("files"), columns=["name", "bytes", "checksum"]).set_index("name")
    table.attrs.update(found)
    return table


def push(
    files: str | Path | Sequence[str | Path] | Mapping[str, str | Path],
    to: str,
    *,
    version: str | None = None,
    draft: bool = False,
    keep: bool = False,
    private: bool = False,
    also: str | Path | Sequence[str | Path] = (),
    **words: Any,
) -> dict[str, Any]:
    """Send models and adaptors, with their card.

    The token is taken from the environment variables ``ZENODO_TOKEN`` or ``HF_TOKEN``. When it is interrupted, the same call
    goes on where it stopped. On Zenodo a published record stays for good.

    Parameters
    ----------
    files
        Files of models and adaptors; a dictionary gives the names that they are to have there.
    to
        ``"zenodo"`` (a new record), ``"zenodo:RECORD"`` (a new version of it) or ``"hf:ORG/NAME"``.
    version
        Which version it is; a tag on Hugging Face.
    draft, keep
        Zenodo: leave a draft that is looked at first; keep files of the version before that are not sent.
    private
        Hugging Face: show a new repository to its owners only.
    also
        Other files to send along, as they are. Cells in them are everybody's then.
    words
        What the card says: ``title``, ``summary``, ``authors``, ``licence``, ``data``, ``organism``, ``tissues``,
        ``metrics``, ``cite``, ``related``, ``reference``; :meth:`scgraft.Model.card` shows it.

    Returns
    -------
    ``address``, by which others fetch it; ``page``; ``doi``; ``published``.

    Raises
    ------
    FileNotFoundError
        A file that is not there.
    ScgraftError
        No token, what the service says, files of which none is scgraft's.

    Examples
    --------
    >>> import scgraft as sg
    >>> sg.hub.push("atlas.scgraft", "my shelf")
    Traceback (most recent call last):
        ...
    FileNotFoundError: atlas.scgraft: there is no such file
    """
    if isinstance(files, Mapping):
        named: list[tuple[str | None, str]] = [(str(name), str(path)) for name, path in files.items()]
    else:
        named = [(None, path) for path in listed(files)]
    others = listed(also)
    if not named:
        raise ScgraftError("files: name at least one model or adaptor")
    for path in [path for _, path in named] + others:
        if not Path(path).exists():
            raise FileNotFoundError(f"{path}: there is no such file")
    plan = {"files": named, "also": others, "to": str(to), "version": version, "draft": bool(draft), "keep": bool(keep),
            "private": bool(private)}  # fmt: skip
    return _native.push(as_json(plan), card_words(words))


def card_words(words: dict[str, Any]) -> str:
    """What a card says, as the library takes it."""
    for name in words:
        need("a card has no such word", WORDS, words=name)
    several = {k: listed(words[k]) for k in ("authors", "tissues", "related") if words.get(k)}
    metrics = [[str(k), v] for k, v in dict(words.get("metrics") or {}).items()]
    return as_json({**{k: v for k, v in words.items() if v is not None}, **several, "metrics": metrics})


def fetched(path: str | Path, offline: bool = False) -> str:
    """The file itself, or what an address names."""
    if not isinstance(path, (str, Path)):
        raise ScgraftError(f"expected the path or the address of a file, found {type(path).__name__}")
    found = _native.fetch(str(path), offline)
    return str(path) if found is None else found["path"]
