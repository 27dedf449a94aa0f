"""Models from files: our own, and those that other packages published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import _native
from ._model import Model
from ._native import ScgraftError
from .hub import fetched


def load(path: str | Path, *, offline: bool = False) -> Model:
    """Read a model, from a file or by its address.

    Parameters
    ----------
    path
        A file that :meth:`Model.save` or the command line wrote, or an address: ``hf://owner/name``, ``zenodo:1234567``, a
        DOI, ``https://…``. What was fetched once is kept.
    offline
        Of an address: look among what was kept, and do not ask the network.

    Returns
    -------
    The model.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ScgraftError
        The file is no model, or is damaged.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "atlas.scgraft")
    >>> sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=1, progress=False).save(path)
    >>> sg.load(path).name
    'scvi'
    """
    found = fetched(path, offline)
    if Path(found).is_dir():
        raise ScgraftError(f"{path} is a folder; give the model's file, or read a folder of scvi-tools or scArches with "
                           "scgraft.import_model(folder)")  # fmt: skip
    return Model(_native.Model.load(found))


def import_model(path: str | Path, *, program_names: Sequence[str] | None = None) -> Model:
    """Read a model that was published with scvi-tools or scArches.

    Nothing in the files is executed, and neither torch nor scvi-tools is needed.

    Parameters
    ----------
    path
        The folder that the package saved, or its ``model.pt``.
    program_names
        Names of the gene programs in their order, for EXPIMAP, whose files have none.

    Returns
    -------
    The model; what it was is in ``Model.imported``.

    Raises
    ------
    FileNotFoundError
        There is no such file or folder.
    ScgraftError
        The files are no model's, or the model has no equal here.

    Examples
    --------
    >>> import scgraft as sg
    >>> sg.import_model("nowhere")
    Traceback (most recent call last):
        ...
    FileNotFoundError: nowhere: there is no such file
    """
    native, about = _native.import_model(str(path), None if program_names is None else [str(n) for n in program_names])
    model = Model(native)
    model.imported = about
    return model


def as_model(model: Model | str | Path, argument: str = "model") -> Model:
    """A model, or that of a file or an address."""
    if isinstance(model, (str, Path)):
        return load(model)
    if not isinstance(model, Model):
        raise ScgraftError(f"{argument}: expected a model, or the path or the address of one, found {type(model).__name__}")
    return model
