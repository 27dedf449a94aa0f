"""What one query added to a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import _native
from .hub import card_words, fetched


class Adaptor:
    """What one query added to a reference: new rows of a few tensors, some kilobytes, no cells.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=1, progress=False)
    >>> mapped = model.map(sim.query, batch_key="batch", name="patients", max_epochs=1, progress=False)
    >>> mapped.adaptor
    Adaptor(patients: conditions query_1, query_2)
    >>> model.attach(mapped.adaptor).grafts
    ['patients']
    """

    def __init__(self, native: _native.Adaptor):
        self._native = native

    @classmethod
    def load(cls, path: str | Path) -> Adaptor:
        """Read an adaptor, from a file or by its address."""
        return cls(_native.Adaptor.load(fetched(path)))

    def save(self, path: str | Path) -> None:
        """Write the adaptor, whole or not at all."""
        self._native.save(str(path))

    @property
    def name(self) -> str:
        """The name of the graft."""
        return self._native.name

    @property
    def conditions(self) -> list[str]:
        """The conditions that it added."""
        return self._native.conditions

    @property
    def reference_hash(self) -> str:
        """The reference that it belongs to."""
        return self._native.reference_hash

    def card(self, name: str = "query.adaptor", *, at: str = "hf:LAB/NAME", **words: Any) -> str:
        """The card that goes beside a shared adaptor; as :meth:`Model.card`, with ``reference``, its reference's address."""
        return self._native.card(name, at, card_words(words))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_adaptor, (self._native.to_bytes(),))

    def __repr__(self) -> str:
        return f"Adaptor({self.name}: conditions {', '.join(self.conditions)})"


def _adaptor(data: bytes) -> Adaptor:
    return Adaptor(_native.Adaptor.from_bytes(data))
