"""Gene programs are tested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from .. import _native
from .._adata import Slots, is_anndata, listed, need, put_expression
from .._frames import frame_from
from .._model import Model
from .._native import ScgraftError
from .._plan import as_json
from .._programs import gene_sets
from .._settings import settings, whole
from .._stored import LATENT, NOTES, copied, notes_of, of_reference, opened_reference, stored

if TYPE_CHECKING:
    from anndata import AnnData


def enrich(
    adata: AnnData,
    reference: AnnData | Model | str | Sequence[str] | None = None,
    *,
    groupby: str | None = None,
    groups: Sequence[str] | str | None = None,
    versus: str | Sequence[str] = (),
    unknown: bool | str = False,
    n_neighbors: int = 15,
    within: str | None = None,
    use_rep: str = LATENT,
    donor_key: str | None = None,
    paired: bool = False,
    programs: Any = None,
    layer: str | None = None,
    use_raw: bool = False,
    log_normalised: bool = False,
    directed: bool = True,
    direction: Literal["top", "sum", "counts"] | None = None,
    min_cells: int = 10,
    n_samples: int | None = None,
    published: bool = False,
    seed: int | None = None,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Test which gene programs differ between groups of cells, of a query alone or with its reference.

    A log Bayes factor above 0 means a higher score in the group, and scores are turned so that higher means that the
    program's genes are up; 2.3 and more counts as enriched. Cells are not replicates: a factor says that the cells differ,
    ``donor_key`` adds what holds from donor to donor.

    Parameters
    ----------
    adata
        Mapped cells, or a reference with its embedding.
    reference
        The cells of the reference, which then take part: an AnnData with its embedding, or a model that brings its cells
        (:meth:`scgraft.Model.bundle`). A label L that was carried over is ``L_pred`` in both. (Names of groups are taken as
        ``versus``, as in scanpy.)
    groupby, groups
        Column of ``obs`` with the groups, and those to test (all unless told). With a reference and without ``groupby`` the
        query is compared with the reference.
    versus
        What they are compared with: ``"rest"`` (all other cells), groups by name, with a reference also ``"reference"``, all
        of its cells.
    unknown, n_neighbors
        Instead of groups: the cells that the reference does not know, by this label (``True``: the first that was carried
        over), against the known cells of the query, or with a reference against so many of its cells nearest to each.
    within
        Test within each level of this column of ``obs``.
    use_rep
        The embedding.
    donor_key, paired
        Column of ``obs`` with the donor of each cell: adds a t test over donors, paired where two or more have cells on both
        sides, or where told, else Welch's.
    programs, layer, use_raw, log_normalised
        Gene sets with the names of programs (as :func:`scgraft.train` takes them): adds the classical tests of the same
        sets; where the counts stand, or whether they are log-normalised already.
    directed, direction
        Whether scores are turned, and by which rule: ``"top"``, ``"sum"``, ``"counts"``.
    min_cells
        Fewest cells on either side.
    n_samples, seed
        Draw so many random pairs of cells instead of taking all of them exactly.
    published
        Bayes factors as the published code computes them from p.
    key_added
        The name of the test; made of the groups unless told.
    copy
        Whether to write into a copy, and give it.

    Returns
    -------
    ``None``, or the copy. The table goes into ``uns["scgraft"]["tests"][key_added]``;
    :func:`scgraft.get.enrich_df` gives it.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, batch_key="batch", programs=sim.programs, max_epochs=5, progress=False)
    >>> model.to_adata(sim.reference)
    >>> sg.tl.map(sim.query, model, max_epochs=2, progress=False)
    >>> sg.tl.enrich(sim.query, groupby="condition", groups="stimulated", versus="control")
    >>> sg.get.enrich_df(sim.query).columns[:4].tolist()
    ['group', 'comparison', 'within', 'program']
    >>> sg.tl.enrich(sim.query, sim.reference)
    >>> list(sim.query.uns["scgraft"]["tests"])
    ['condition versus control', 'query versus reference']
    """
    adata = copied(adata, copy)
    versus = listed(versus)
    if isinstance(reference, str) or (isinstance(reference, Sequence) and not is_anndata(reference)):
        if versus:
            raise ScgraftError("reference names groups here, and so does versus; give the groups as versus alone")
        versus, reference = listed(reference), None
    tested = listed(groups)
    if groupby is None and reference is None and not unknown:
        raise ScgraftError("give groupby=, a column of obs, a reference to compare with, or unknown=True")
    if unknown and (groupby is not None or tested or versus):
        raise ScgraftError("unknown: the cells that the reference does not know are the group; leave groupby, groups and "
                           "versus out")  # fmt: skip
    # A reference has columns that the query has not, and the other way round.
    several = reference is not None or bool(unknown)
    columns = {groupby: "groupby", within: "within", donor_key: "donor_key"}
    mine = stored(adata, use_rep, obs={} if several else {c: a for c, a in columns.items() if c}, every=several)
    if not several:
        levels = sorted({str(v) for v in adata.obs[groupby].dropna()})
        for argument, named in (("groups", tested), ("versus", [v for v in versus if versus != ["rest"]])):
            for g in named:
                need(f"{groupby!r} has no such value", levels, **{argument: g})
    reference = None if reference is None else opened_reference(reference)
    known = None if reference is None else of_reference(reference, use_rep, every=True)
    sets = gene_sets(programs, adata)
    slots = Slots(layer=layer, use_raw=use_raw)
    for data, part in ((adata, mine), (reference, known)):
        if sets and part is not None and is_anndata(data):
            put_expression(data, slots, part)
    plan = {
        "groups": groupby, "tested": tested, "versus": versus, "k": whole("n_neighbors", n_neighbors), "within": within,
        "directed": directed, "direction": direction, "min_cells": whole("min_cells", min_cells), "samples": n_samples,
        "published": published, "donors": donor_key, "paired": paired,
        "seed": settings.seed if seed is None else whole("seed", seed),
        "use_raw": use_raw, "layer": layer, "normalised": log_normalised,
        "unknown": {"label": None if unknown is True else str(unknown)} if unknown else None,
    }  # fmt: skip
    table, name = _native.enrich(mine, known, sets, as_json(plan), settings.threads)
    notes = notes_of(adata, use_rep)
    made = {(key_added or name).replace("/", "_"): frame_from(table).reset_index(drop=True)}
    adata.uns[NOTES if use_rep == LATENT else use_rep] = notes | {"tests": notes.get("tests", {}) | made}
    return adata if copy else None
