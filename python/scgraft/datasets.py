"""Data to try things on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _native
from ._adata import adata_from
from ._plan import as_json
from ._settings import number, settings, whole

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Simulated", "simulate"]


@dataclass
class Simulated:
    """A simulated reference and query with planted truth.

    Attributes
    ----------
    reference, query
        Raw counts; ``obs`` has ``batch``, ``cell_type``, ``condition``; ``obsm["true_activity"]`` the activity of every
        program in every cell.
    programs
        Gene sets, the genes of each by its name.
    truth
        What was planted: the type that the reference lacks, the programs with their roles, the hidden program.
    """

    reference: AnnData
    query: AnnData
    programs: dict[str, list[str]]
    truth: dict[str, Any]


def simulate(
    *,
    n_reference: int = 3000,
    n_query: int = 1500,
    n_genes: int = 1000,
    n_programs: int = 40,
    n_cell_types: int = 6,
    n_reference_batches: int = 3,
    n_query_batches: int = 2,
    batch_effect: float = 0.3,
    seed: int = 0,
) -> Simulated:
    """A simulated reference and query.

    The query has a cell type that the reference lacks, and half of its cells are stimulated: two programs go up, one goes
    down, and one that is no gene set comes on.

    Parameters
    ----------
    n_reference, n_query
        Cells.
    n_genes, n_programs, n_cell_types
        Genes, gene sets, cell types of the reference.
    n_reference_batches, n_query_batches, batch_effect
        Batches, and how strong their effects are (standard deviation, natural log scale).
    seed
        The same seed gives the same data on any number of threads, here and on the command line.

    Returns
    -------
    Reference, query, gene sets and truth.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sim.reference.shape, len(sim.programs)
    ((300, 1000), 40)
    """
    options = dict(
        n_reference=n_reference, n_query=n_query, n_genes=n_genes, n_programs=n_programs, n_cell_types=n_cell_types,
        n_reference_batches=n_reference_batches, n_query_batches=n_query_batches, batch_effect=batch_effect, seed=seed,
    )  # fmt: skip
    for name, value in options.items():
        options[name] = number(name, value) if name == "batch_effect" else whole(name, value)
    found = _native.simulate(as_json(options), settings.threads)
    return Simulated(adata_from(found["reference"]), adata_from(found["query"]), found["gene_sets"], found["truth"])
