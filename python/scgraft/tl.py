"""Tools over an AnnData: mapping, labels, programs, neighbours, clusters, pictures of cells, metrics."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from . import _native
from ._adata import (
    Slots,
    adata_from,
    cells,
    in_words,
    is_anndata,
    layers,
    listed,
    matrices,
    need,
    opened,
    put,
    put_counts,
    put_expression,
    put_genes,
)
from ._frames import column, csr_from, dense, frame, frame_from, names, uns_to
from ._model import LATENT, NOTES, Model, _threads, as_model, load
from ._native import ScgraftError
from ._programs import gene_sets
from ._settings import number, settings, whole

if TYPE_CHECKING:
    from anndata import AnnData

_log = logging.getLogger("scgraft")

PICTURE = LATENT + "_umap"
"""Where the library looks for a picture of cells, and what a model that brings its cells calls theirs."""

__all__ = ["annotate", "enrich", "evaluate", "join", "leiden", "louvain", "map", "neighbors", "pca", "rank_genes_groups",
           "report", "umap"]  # fmt: skip


def stored(
    adata: AnnData,
    key: str = LATENT,
    *,
    obs: Mapping[str, str] | Sequence[str] = (),
    every: bool = False,
    obsm: Sequence[str] = (),
    what: str = "adata",
    drawn: bool = True,
) -> _native.Cells:
    """Cells with an embedding and what is known of it, for the library; its notes stand beside another key, too. ``obs`` are the
    columns wanted, of which a dictionary says which argument named them; a picture that is to be drawn is where the library looks
    for it."""
    if not is_anndata(adata):
        raise ScgraftError(f"{what}: expected an AnnData, found {type(adata).__name__}")
    remedy = ". Make one with scgraft.tl.map(adata, model) or model.to_adata()"
    need(f"obsm of {what} has no such embedding", adata.obsm, remedy, use_rep=key)
    out = _native.Cells(names(adata.obs_names), names(adata.var_names))
    for name in dict.fromkeys([key, f"{key}_var", *obsm]):
        if name in adata.obsm:
            value, ours = adata.obsm[name], name.startswith(key)
            table = isinstance(value, pd.DataFrame) and not ours
            out.set_obsm(LATENT + name[len(key) :] if ours else name, frame(value) if table else dense(value, f'obsm["{name}"]'))
    notes = adata.uns.get(NOTES if key == LATENT else key, {})
    if isinstance(notes, Mapping):
        notes = dict(notes)
        own = picture(adata) if drawn and key == LATENT else None
        if own is not None and own in obsm and own != PICTURE:
            out.set_obsm(PICTURE, dense(adata.obsm[own], f'obsm["{own}"]'))
            notes[f"umap {PICTURE}"] = notes[f"umap {own}"]
        out.set_uns({NOTES: uns_to(notes)})
    for name in adata.obs.columns if every else obs:
        argument = obs.get(name, "column") if isinstance(obs, Mapping) else "column"
        need(f"obs of {what} has no such column", adata.obs, **{argument: name})
        out.set_obs(str(name), column(adata.obs[name]))
    return out


def picture(adata: AnnData) -> str | None:
    """The entry of obsm with the picture of the cells: the library's own, or where :func:`umap` puts it for scanpy."""
    if PICTURE in adata.obsm:
        return PICTURE
    made = adata.uns.get("umap", {}).get("params", {}).get("use_rep") == LATENT  # scanpy's own say so nowhere
    return "X_umap" if made and "X_umap" in adata.obsm and "umap X_umap" in adata.uns.get(NOTES, {}) else None


def _reference(reference: AnnData | Model | str | Path) -> AnnData | Model:
    """A reference as it is given, or what a path or an address names: an h5ad, or a model."""
    if isinstance(reference, (str, Path)) and Path(reference).suffix not in (".h5ad", ".h5mu"):
        return load(reference)
    return reference if isinstance(reference, Model) else opened(reference)


def of_reference(
    reference: AnnData | Model,
    key: str = LATENT,
    *,
    obs: Mapping[str, str] | Sequence[str] = (),
    every: bool = False,
    obsm: Sequence[str] = (),
) -> _native.Cells:
    """The cells of a reference: of an AnnData with its embedding, or those that a model brings."""
    if not isinstance(reference, Model):
        return stored(reference, key, obs=obs, every=every, obsm=obsm, what="reference")
    found = reference._native.reference_cells()
    if found is None:
        raise ScgraftError(
            "reference: the model does not bring its cells; give the AnnData that it was trained on, with its embedding "
            "(model.to_adata(adata)), or model.bundle(columns)"
        )
    return found


def _copied(adata: AnnData, copy: bool) -> AnnData:
    if not is_anndata(adata):
        raise ScgraftError(f"adata: expected an AnnData, found {type(adata).__name__}")
    return adata.copy() if copy else adata


def _known(columns: Sequence[str] | str | None, adata: AnnData) -> list[str]:
    """Columns that the cells have."""
    return [c for c in listed(columns) if c in adata.obs.columns]


def map(
    adata: AnnData,
    model: Model | str | Path,
    *,
    name: str | None = None,
    batch_key: str | Sequence[str] | None = None,
    batch_name: str | None = None,
    key_added: str = LATENT,
    save_model: str | Path | None = None,
    save_adaptor: str | Path | None = None,
    copy: bool = False,
    **settings: Any,
) -> AnnData | None:
    """Map a query onto a reference: graft it on, and write where its cells lie.

    Parameters
    ----------
    adata
        The query.
    model
        The reference: a model, or the path of its file.
    name, batch_key, batch_name
        As in :meth:`scgraft.Model.map`.
    key_added
        The name of the embedding: ``obsm[key_added]`` gets the posterior means (cells × dimensions),
        ``obsm[key_added + "_var"]`` the variances, ``varm["scgraft_weights"]`` the weights of programs,
        ``uns["scgraft"]`` what the dimensions mean.
    save_model, save_adaptor
        Files for the model with the graft, and for the graft alone.
    copy
        Whether to write into a copy, and give it.
    settings
        Everything else that :meth:`scgraft.Model.map` takes.

    Raises
    ------
    ScgraftError
        As :meth:`scgraft.Model.map`.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=1, progress=False)
    >>> sg.tl.map(sim.query, model, max_epochs=1, progress=False)
    >>> sim.query.obsm["X_scgraft"].shape
    (100, 10)
    """
    adata = _copied(adata, copy)
    mapped = as_model(model).map(adata, name=name, batch_key=batch_key, batch_name=batch_name, **settings)
    mapped.to_adata(key_added=key_added)
    if save_model is not None:
        mapped.save(save_model, overwrite=True)
    if save_adaptor is not None:
        if mapped.adaptor is None:
            raise ScgraftError("save_adaptor: the query added nothing that an adaptor could hold; save the model instead")
        mapped.adaptor.save(save_adaptor)
    return adata if copy else None


def annotate(
    adata: AnnData,
    reference: AnnData | Model | str | Path,
    *,
    labels: str | Sequence[str] = "cell_type",
    unlabelled: str | None = None,
    programs: str | Sequence[str] = (),
    truth: str | Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    use_rep: str = LATENT,
    n_neighbors: int = 15,
    kernel: Literal["adaptive", "paper", "compat", "uniform", "gaussian"] = "adaptive",
    rule: Literal["novelty", "paper"] | None = None,
    false_alarms: float = 0.05,
    unknown: float | None = None,
    coverage: float | None = None,
    across: str | Sequence[str] | None = None,
    nested: bool = False,
    numbers: Sequence[str] = (),
    calibrate: Literal["temperature", "isotonic"] | None = None,
    calibrate_across: str | None = None,
    majority: str | None = None,
    approximate: float | None = None,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Carry labels of a reference over to mapped cells.

    Parameters
    ----------
    adata, reference
        The mapped query, and the reference with its embedding (``model.to_adata(reference)``), or a model that brings its
        cells (:meth:`scgraft.Model.bundle`), or the path of either.
    labels, unlabelled
        Columns of the reference's ``obs``, and the value of them that means that a cell has none.
    programs
        Find neighbours by the scores of these programs only; ``*`` stands for any text, ``?`` for any letter.
    truth, label_map
        Columns of ``adata.obs`` with labels to compare with, in the order of ``labels`` (those of the same names, where they
        are), and what labels of the query are called in the reference, old names to new ones: adds ``obs["L_verdict"]``.
    use_rep
        The embedding, an entry of ``obsm`` of both.
    n_neighbors, kernel
        Neighbours of each cell in the reference, and how their weight falls with distance.
    rule
        Which cells are ``Unknown``: ``"novelty"`` (those of a type that the reference does not have, at a share of false
        alarms, judged in the embedding and, where both have counts in X, a layer or raw, in their expression), or
        ``"paper"`` (those whose neighbours disagree by more than ``unknown``).
    false_alarms, unknown
        The thresholds of the rules; giving ``unknown`` chooses ``"paper"``.
    coverage
        Give the labels that a cell may have as well, so many that the true one is among them in this share of cells.
    across
        Columns of ``obs`` with study or donor, across which novelty and coverage are learned; the batches of the
        reference's training unless told.
    nested
        The label columns are nested, finest first: fall back to the parent where a label is uncertain.
    numbers
        Numeric columns to carry over.
    calibrate, calibrate_across
        Calibrate uncertainties on the reference's own labels, by neighbours in other studies where a column is named.
    majority
        Column of ``adata.obs`` with clusters: each gets the label that most of its cells got (``obs["L_majority"]``, and the
        share of them in ``obs["L_majority_share"]``).
    approximate
        Search neighbours approximately until this share of the true ones is found; for large data.
    seed
        Seed of the approximate search.
    copy
        Whether to write into a copy, and give it.

    Returns
    -------
    ``None``, or the copy. Writes for each label L ``obs["L_pred"]``, ``obs["L_best"]``, ``obs["L_uncertainty"]`` (0 to 1),
    ``obs["L_novelty"]`` (above 1: unknown), ``obs["L_set"]``, ``obsm["L_probabilities"]``; ``obs["scgraft_distance"]``
    (about 1 inside the reference) and ``obs["scgraft_distance_quantile"]``.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, batch_key="batch", programs=sim.programs, max_epochs=5, progress=False)
    >>> model.to_adata(sim.reference)
    >>> sg.tl.map(sim.query, model, max_epochs=2, progress=False)
    >>> sg.tl.annotate(sim.query, sim.reference, labels="cell_type")
    >>> "cell_type_pred" in sim.query.obs
    True
    """
    labels = listed(labels)
    if not labels:
        raise ScgraftError("labels: name at least one column of the reference's obs")
    across = listed(across)
    adata = _copied(adata, copy)
    rule = rule or ("paper" if unknown is not None else "novelty")
    notes = adata.uns.get(NOTES if use_rep == LATENT else use_rep, {})
    conditions = notes.get("provenance", {}).get("condition_columns", ()) if isinstance(notes, Mapping) else ()
    needed = {calibrate_across: "calibrate_across"} if calibrate_across else {}
    needed |= dict.fromkeys(listed(numbers), "numbers") | dict.fromkeys(labels, "labels")
    extra = across or [str(c) for c in conditions]
    truth = listed(truth)
    if len(truth) > len(labels):
        raise ScgraftError(f"truth has {len(truth)} columns, labels {len(labels)}")
    reference = _reference(reference)
    here = hasattr(reference, "obsm")
    others = dict.fromkeys(_known(extra, reference) if here else (), "across")
    known = of_reference(reference, use_rep, obs=others | needed)
    compared = dict.fromkeys([*_known(extra, adata), *_known(labels[len(truth):], adata)], "labels")
    compared |= dict.fromkeys(listed(majority), "majority") | dict.fromkeys(truth, "truth")
    mine = stored(adata, use_rep, obs=compared)
    if rule == "novelty":
        learned = adata.uns.get(NOTES if use_rep == LATENT else use_rep, {})
        genes = [str(g) for g in learned.get("genes", ())] if isinstance(learned, Mapping) else []
        if here:
            put_counts(reference, genes, known)
        put_counts(adata, genes, mine)
    plan = {
        "labels": labels, "unlabelled": unlabelled, "key": LATENT, "k": whole("n_neighbors", n_neighbors),
        "kernel": kernel, "rule": rule, "false_alarms": number("false_alarms", false_alarms), "coverage": coverage,
        "unknown": 0.5 if unknown is None else number("unknown", unknown),
        "across": across, "nested": bool(nested), "numbers": listed(numbers), "calibrate": calibrate,
        "calibrate_across": calibrate_across, "majority": majority, "truth": truth,
        "renamed": [[str(a), str(b)] for a, b in dict(label_map or {}).items()],
        "programs": listed(programs), "seed": whole("seed", seed),
        "approximate": approximate,
    }  # fmt: skip
    put(adata, _native.annotate(known, mine, json.dumps(plan), _threads(None)))
    return adata if copy else None


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
    adata = _copied(adata, copy)
    versus = listed(versus)
    if isinstance(reference, str) or (isinstance(reference, Sequence) and not hasattr(reference, "obsm")):
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
    known = None if reference is None else of_reference(reference, use_rep, every=True)
    sets = gene_sets(programs, adata) if programs is not None else []
    if sets:
        slots = Slots(layer=layer, use_raw=use_raw)
        put_expression(adata, slots, mine)
        if known is not None and hasattr(reference, "obsm"):
            put_expression(reference, slots, known)
    plan = {
        "groups": groupby, "tested": tested, "versus": versus, "k": whole("n_neighbors", n_neighbors), "within": within,
        "directed": directed, "direction": direction, "min_cells": whole("min_cells", min_cells), "samples": n_samples,
        "published": published, "donors": donor_key, "paired": paired,
        "seed": settings.seed if seed is None else whole("seed", seed),
        "slot": "raw" if use_raw else "X", "layer": layer, "normalised": log_normalised,
        "unknown": {"label": None if unknown is True else str(unknown)} if unknown else None,
    }  # fmt: skip
    table, name = _native.enrich(mine, known, sets, json.dumps(plan), _threads(None))
    notes = adata.uns.setdefault(NOTES if use_rep == LATENT else use_rep, {})
    tests = dict(notes.get("tests", {}))
    tests[(key_added or name).replace("/", "_")] = frame_from(table).reset_index(drop=True)
    notes["tests"] = tests
    return adata if copy else None


def join(adata: AnnData, reference: AnnData | Model | str | Path) -> AnnData:
    """A query and its reference as one AnnData: the cells of the reference, then those of the query.

    ``obs["scgraft_origin"]`` says where a cell is from; columns of ``obs`` of both are kept. A label L that was carried over is
    ``L_pred`` in both. Of ``X``, the layers and ``raw`` the genes that both have are kept, of ``obsm`` the entries that both
    have. What cannot be put together (counts and other values, pictures that were made of each by itself) is left out with a
    warning.

    Parameters
    ----------
    adata
        The mapped query.
    reference
        The reference with its embedding, or a model that brings its cells (:meth:`scgraft.Model.bundle`).

    Returns
    -------
    Both, a new AnnData.

    Raises
    ------
    ScgraftError
        A query that was mapped onto another model.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=1, progress=False)
    >>> model.to_adata(sim.reference)
    >>> sg.tl.map(sim.query, model, max_epochs=1, progress=False)
    >>> both = sg.tl.join(sim.query, sim.reference)
    >>> both.shape, both.obs["scgraft_origin"].value_counts().to_dict()
    ((400, 1000), {'reference': 300, 'query': 100})
    """
    reference = _reference(reference)

    def filled(data: AnnData, cells_: _native.Cells) -> _native.Cells:
        slots: list[tuple[str | None, bool]] = [(None, False)] if data.X is not None else []
        slots += [(name, False) for name in layers(data)] + ([(None, True)] if data.raw is not None else [])
        for layer, raw in slots:
            put_expression(data, Slots(layer=layer, use_raw=raw), cells_)
        return cells_

    mine = filled(adata, stored(adata, every=True, obsm=matrices(adata), drawn=False))
    if hasattr(reference, "obsm"):
        known = filled(reference, stored(reference, every=True, obsm=matrices(reference), what="reference", drawn=False))
    else:
        known = of_reference(reference)
    parts, left_out = _native.join(known, mine, _threads(None))
    for slot, reason in left_out:
        _log.warning("%s is left out: %s", slot, reason)
    return adata_from(parts)


def neighbors(
    adata: AnnData,
    *,
    n_neighbors: int = 15,
    use_rep: str = LATENT,
    approximate: float | None = None,
    seed: int = 0,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Find the neighbours of every cell, in the slots where scanpy looks for them.

    Parameters
    ----------
    n_neighbors
        Neighbours of each cell, itself counted.
    use_rep
        The embedding, an entry of ``obsm``.
    approximate, seed
        Search approximately until this share of the true neighbours is found; exactly unless told.
    key_added
        Instead of ``neighbors``, ``distances``, ``connectivities``.

    Returns
    -------
    ``None``, or the copy. Writes ``obsp["distances"]``, ``obsp["connectivities"]`` (cells × cells, sparse) and
    ``uns["neighbors"]``.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.pca(sim.reference, n_comps=10)
    >>> sg.tl.neighbors(sim.reference, use_rep="X_pca")
    >>> sim.reference.obsp["connectivities"].shape
    (300, 300)
    """
    adata = _copied(adata, copy)
    x = _rep(adata, use_rep)
    n_neighbors, seed = whole("n_neighbors", n_neighbors), whole("seed", seed)
    distances, graph, recall = _native.neighbours(x, n_neighbors, approximate, seed, _threads(None))
    prefix = "" if key_added is None else f"{key_added}_"
    adata.obsp[f"{prefix}distances"] = csr_from(distances)
    adata.obsp[f"{prefix}connectivities"] = csr_from(graph)
    params = {"n_neighbors": n_neighbors, "method": "umap", "metric": "euclidean", "use_rep": use_rep,
              "recall": recall}  # fmt: skip
    adata.uns["neighbors" if key_added is None else key_added] = {
        "connectivities_key": f"{prefix}connectivities",
        "distances_key": f"{prefix}distances",
        "params": params,
    }
    return adata if copy else None


def _rep(adata: AnnData, use_rep: str) -> np.ndarray:
    need("obsm has no such entry", adata.obsm, use_rep=use_rep)
    return dense(adata.obsm[use_rep], f'obsm["{use_rep}"]')


def _cluster(
    adata: AnnData, resolution: float | Sequence[float], seed: int, key_added: str, neighbors_key: str | None, louvain: bool
) -> None:
    key = "neighbors" if neighbors_key is None else neighbors_key
    remedy = ". Find neighbours first: scgraft.tl.neighbors(adata) or scanpy.pp.neighbors"
    need("uns has no such neighbours", adata.uns, remedy, neighbors_key=key)
    graph = sparse.csr_matrix(adata.obsp[adata.uns[key].get("connectivities_key", "connectivities")])
    graph.sort_indices()
    several = isinstance(resolution, (Sequence, np.ndarray, pd.Series)) and not isinstance(resolution, str)
    resolutions = [number("resolution", r) for r in np.atleast_1d(np.asarray(resolution, dtype=object))]
    found = _native.clusters(
        graph.indptr.astype(np.int64),
        graph.indices.astype(np.int32),
        graph.data.astype(np.float32),
        resolutions,
        louvain,
        whole("seed", seed),
        _threads(None),
    )
    for r, (codes, n, modularity) in zip(resolutions, found, strict=True):
        column_ = f"{key_added}_{r:g}" if several else key_added
        adata.obs[column_] = pd.Categorical.from_codes(codes, [str(i) for i in range(n)])
        adata.uns[column_] = {"params": {"resolution": r, "random_state": whole("seed", seed)}, "modularity": modularity}


def leiden(
    adata: AnnData,
    resolution: float | Sequence[float] = 1.0,
    *,
    key_added: str = "leiden",
    neighbors_key: str | None = None,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Cluster cells with the Leiden algorithm.

    Parameters
    ----------
    resolution
        How fine; several give a column each.
    key_added
        The column of ``obs``; of several resolutions ``<key_added>_<resolution>``.
    neighbors_key
        Instead of ``uns["neighbors"]``.
    seed
        Seed of the moves.

    Returns
    -------
    ``None``, or the copy. Writes ``obs[key_added]``, clusters numbered by size, the largest 0.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.pca(sim.reference, n_comps=10)
    >>> sg.tl.neighbors(sim.reference, use_rep="X_pca")
    >>> sg.tl.leiden(sim.reference)
    >>> sim.reference.obs["leiden"].dtype.name
    'category'
    """
    adata = _copied(adata, copy)
    _cluster(adata, resolution, seed, key_added, neighbors_key, False)
    return adata if copy else None


def louvain(
    adata: AnnData,
    resolution: float | Sequence[float] = 1.0,
    *,
    key_added: str = "louvain",
    neighbors_key: str | None = None,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Cluster cells with the Louvain algorithm; parameters as :func:`leiden`."""
    adata = _copied(adata, copy)
    _cluster(adata, resolution, seed, key_added, neighbors_key, True)
    return adata if copy else None


def umap(
    adata: AnnData,
    reference: AnnData | Model | str | Path | None = None,
    *,
    use_rep: str = LATENT,
    n_neighbors: int = 15,
    min_dist: float | None = None,
    spread: float | None = None,
    max_epochs: int | None = None,
    approximate: float | None = None,
    seed: int = 0,
    key_added: str = "X_umap",
    copy: bool = False,
) -> AnnData | None:
    """Lay cells out in the plane, or place a query in its reference's picture.

    Parameters
    ----------
    reference
        A reference with its embedding and its picture, which stays as it is; or a model that brings its cells and their picture
        (:meth:`scgraft.Model.bundle`).
    use_rep, n_neighbors
        The embedding, and neighbours of each cell, itself counted.
    min_dist, spread
        How tightly cells may be packed (0.5) and the scale of the picture (1), or those of the reference's picture.
    max_epochs
        Rounds over the edges; 500 up to 10,000 cells, else 200; a third of it to place a query.
    approximate, seed
        As in :func:`~scgraft.tl.neighbors`; the seed also of the layout.
    key_added
        The entry of ``obsm``, where scanpy's plots look.

    Returns
    -------
    ``None``, or the copy. Writes ``obsm[key_added]``, cells × 2.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.pca(sim.reference, n_comps=10)
    >>> sg.tl.umap(sim.reference, use_rep="X_pca", max_epochs=20)
    >>> sim.reference.obsm["X_umap"].shape
    (300, 2)
    """
    adata = _copied(adata, copy)
    mine = stored(adata, use_rep)
    known, picture = None, key_added
    if reference is not None:
        reference = _reference(reference)
        if isinstance(reference, Model):
            picture = PICTURE
        else:
            remedy = ". Lay the reference out first: scgraft.tl.umap(reference)"
            need("obsm of the reference has no such picture", reference.obsm, remedy, key_added=key_added)
        known = of_reference(reference, use_rep, obsm=[key_added])
    plan = {
        "key": LATENT, "picture": picture, "k": whole("n_neighbors", n_neighbors), "min_dist": min_dist, "spread": spread,
        "epochs": max_epochs, "seed": whole("seed", seed), "approximate": approximate,
    }  # fmt: skip
    written = _native.umap(mine, known, json.dumps(plan), _threads(None))
    layout = written["uns"].pop(NOTES, {})
    adata.obsm[key_added] = written["obsm"][picture]
    notes = adata.uns.setdefault(NOTES, {})
    notes.update(layout)
    adata.uns["umap" if key_added == "X_umap" else key_added] = {
        "params": {"random_state": whole("seed", seed), "n_neighbors": whole("n_neighbors", n_neighbors), "use_rep": use_rep}
    }
    return adata if copy else None


def _expression(
    adata: AnnData, *, layer: str | None, use_raw: bool, **obs: str | None
) -> tuple[_native.Cells, Slots]:
    """All expression of a slot, with columns of obs by the arguments that named them."""
    slots = Slots(layer=layer, use_raw=use_raw)
    need("obs has no such column", adata.obs, **obs)
    return cells(adata, slots, lambda of: [True] * len(of), [c for c in obs.values() if c is not None]), slots


def _plan(**given: Any) -> str:
    plan = {
        "slot": "raw" if given.pop("use_raw", False) else "X", "layer": None, "normalised": False, "batch": None,
        "n_top": 2000, "flavor": "seurat", "components": 50,
    }  # fmt: skip
    return json.dumps({**plan, **given})


def pca(
    adata: AnnData,
    *,
    n_comps: int | None = None,
    n_top_genes: int = 2000,
    batch_key: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    log_normalised: bool = False,
    copy: bool = False,
) -> AnnData | None:
    """Principal components of log-normalised expression, of the most variable genes.

    Parameters
    ----------
    n_comps, n_top_genes
        How many components (50, or as many as there are), and of how many genes.
    batch_key
        Score the genes' variability within each batch.
    layer, use_raw, log_normalised
        Where the counts stand, or whether they are log1p of normalised counts already.

    Returns
    -------
    ``None``, or the copy. Writes ``obsm["X_pca"]``, ``varm["PCs"]``, ``uns["pca"]`` and ``var["highly_variable"]``.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.pca(sim.reference, n_comps=10)
    >>> sim.reference.obsm["X_pca"].shape
    (300, 10)
    """
    adata = _copied(adata, copy)
    given, slots = _expression(adata, layer=layer, use_raw=use_raw, batch_key=batch_key)
    plan = _plan(layer=layer, use_raw=use_raw, normalised=log_normalised, batch=batch_key,
                 n_top=whole("n_top_genes", n_top_genes), components=None if n_comps is None else whole("n_comps", n_comps, 1))  # fmt: skip
    with in_words(adata, slots):
        written, chosen = _native.components(given, plan, _threads(None))
    put(adata, written)
    if not use_raw:
        variable = np.zeros(adata.n_vars, dtype=bool)
        variable[chosen] = True
        adata.var["highly_variable"] = variable
    return adata if copy else None


def rank_genes_groups(
    adata: AnnData,
    groupby: str,
    *,
    groups: str | Sequence[str] | None = None,
    reference: str = "rest",
    tie_correct: bool = False,
    layer: str | None = None,
    use_raw: bool = False,
    log_normalised: bool = False,
    n_genes: int | None = None,
    key_added: str = "rank_genes_groups",
    copy: bool = False,
) -> AnnData | None:
    """Rank marker genes of groups of cells by Wilcoxon's rank sum, where scanpy's readers and plots find them.

    Parameters
    ----------
    groupby, groups, reference
        Column of ``obs``; the groups to keep; what they are compared with, ``"rest"`` or one group.
    tie_correct
        Allow for ties in the variance of the rank sum.
    layer, use_raw, log_normalised
        Where the counts stand, or whether they are log1p of normalised counts already.
    n_genes
        Genes kept of each group; all unless told.
    key_added
        The entry of ``uns``.

    Returns
    -------
    ``None``, or the copy. Writes ``uns[key_added]`` with ``names``, ``scores``, ``pvals``, ``pvals_adj``,
    ``logfoldchanges`` (records, a field a group), ``pts``, ``pts_rest``.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.rank_genes_groups(sim.reference, "cell_type")
    >>> sorted(sim.reference.uns["rank_genes_groups"])[:3]
    ['logfoldchanges', 'names', 'params']
    """
    adata = _copied(adata, copy)
    given, slots = _expression(adata, layer=layer, use_raw=use_raw, groupby=groupby)
    plan = {
        "groups": groupby, "group": listed(groups), "versus": None if reference == "rest" else str(reference),
        "tie_correct": bool(tie_correct), "slot": "raw" if use_raw else "X", "layer": layer, "normalised": log_normalised,
    }  # fmt: skip
    with in_words(adata, slots):
        found = _native.markers(given, json.dumps(plan), _threads(None))
    n = n_genes if n_genes is not None else (len(found[0][1]) if found else 0)

    def records(at: int, kind: str) -> np.recarray:
        return np.rec.fromarrays([np.asarray(g[at])[:n].astype(kind) for g in found],
                                 dtype=[(g[0], kind) for g in found])  # fmt: skip

    index = pd.Index(adata.raw.var_names if use_raw else adata.var_names)
    shares = {w: pd.DataFrame({g[0]: pd.Series(g[at], index=g[1]).reindex(index) for g in found})
              for w, at in (("pts", 6), ("pts_rest", 7))}  # fmt: skip
    adata.uns[key_added] = {
        "params": {"groupby": groupby, "reference": reference, "method": "wilcoxon", "use_raw": use_raw, "layer": layer,
                   "corr_method": "benjamini-hochberg", "tie_correct": tie_correct},
        "names": records(1, "O"),
        "scores": records(2, "<f4"),
        "pvals": records(3, "<f8"),
        "pvals_adj": records(4, "<f8"),
        "logfoldchanges": records(5, "<f4"),
        "pts": shares["pts"],
    }  # fmt: skip
    if reference == "rest":
        adata.uns[key_added]["pts_rest"] = shares["pts_rest"]
    return adata if copy else None


def evaluate(
    adata: AnnData,
    reference: AnnData | None = None,
    *,
    batch_key: str,
    labels_key: str,
    embeddings: str | Sequence[str] = LATENT,
    query: str | Sequence[str] = (),
    before: str | None = "counts",
    layer: str | None = None,
    use_raw: bool = False,
    log_normalised: bool = False,
    n_comps: int = 50,
    resolutions: Sequence[float] = (),
    algorithm: Literal["leiden", "louvain"] = "leiden",
    n_neighbors: int = 15,
    kbet_neighbors: int = 50,
    lisi_neighbors: int = 90,
    approximate: float | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare embeddings by integration and mapping metrics, named as scib names them.

    Parameters
    ----------
    adata, reference
        All cells; or a query and its reference.
    batch_key, labels_key
        Columns of ``obs`` with batch and cell type.
    embeddings
        Entries of ``obsm``.
    query
        Batches that are the query, where one AnnData holds all cells.
    before
        The data before integration, which PC regression and kNN purity compare with: ``"counts"`` (components of them),
        an entry of ``obsm``, or ``None``.
    layer, use_raw, log_normalised, n_comps
        Where those counts stand, and how many components.
    resolutions, algorithm
        Of the clusterings that NMI, ARI and isolated labels look through.
    n_neighbors, kbet_neighbors, lisi_neighbors
        Neighbours of the metrics.
    approximate, seed
        As in :func:`~scgraft.tl.neighbors`; the seed also of the clusterings.

    Returns
    -------
    One row an embedding, one column a metric, each 0 to 1, higher is better; ``attrs["left_out"]`` says which metrics are
    missing and why.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> sg.tl.pca(sim.reference, n_comps=10)
    >>> table = sg.tl.evaluate(sim.reference, batch_key="batch", labels_key="cell_type", embeddings="X_pca",
    ...                        resolutions=[1.0])
    >>> table.index.tolist()
    ['X_pca']
    """
    keys = listed(embeddings)
    extra = [] if before in (None, "counts") else [before]

    if not any(batch_key in data.obs.columns for data in (adata, reference) if data is not None):
        need("obs has no such column", adata.obs, batch_key=batch_key)

    def part(data: AnnData, what: str) -> tuple[_native.Cells, Slots]:
        slots = Slots(layer=layer, use_raw=use_raw)
        columns = [c for c in (batch_key, labels_key) if c in data.obs.columns]
        need(f"obs of {what} has no such column", data.obs, labels_key=labels_key)
        for key in [*keys, *extra]:
            need(f"obsm of {what} has no such embedding", data.obsm, embeddings=key)
        if before == "counts":
            out = cells(data, slots, lambda of: [True] * len(of), columns)
        else:
            out = _native.Cells(names(data.obs_names), names(data.var_names))
            for c in columns:
                out.set_obs(c, column(data.obs[c]))
        for key in [*keys, *extra]:
            out.set_obsm(key, dense(data.obsm[key], f'obsm["{key}"]'))
        if isinstance(data.uns.get(NOTES), Mapping):
            out.set_uns({NOTES: uns_to(dict(data.uns[NOTES]))})
        if "PCs" in data.varm:
            out.set_varm("PCs", dense(data.varm["PCs"], 'varm["PCs"]'))
        return out, slots

    mine, _ = part(adata, "adata")
    known = None if reference is None else part(reference, "reference")[0]
    plan = {
        "batch": batch_key, "labels": labels_key, "query": listed(query),
        "embeddings": keys, "before": extra[0] if extra else None, "counts": before == "counts",
        "slot": "raw" if use_raw else "X", "layer": layer, "normalised": log_normalised, "louvain": algorithm == "louvain",
        "components": whole("n_comps", n_comps, 1), "resolutions": [number("resolutions", r) for r in resolutions],
        "k": whole("n_neighbors", n_neighbors), "kbet_k": whole("kbet_neighbors", kbet_neighbors),
        "lisi_k": whole("lisi_neighbors", lisi_neighbors), "seed": whole("seed", seed), "approximate": approximate,
    }  # fmt: skip
    table, left_out = _native.evaluate(mine, known, json.dumps(plan), _threads(None))
    out = frame_from(table)
    out.attrs["left_out"] = dict(left_out)
    return out


def report(
    adata: AnnData,
    path: str | Path | None = None,
    *,
    reference: AnnData | Model | str | Path | None = None,
    model: Model | str | Path | None = None,
    labels: str | None = None,
    truth: str | None = None,
    groupby: str | None = None,
    color: str | Sequence[str] = (),
    genes: str | Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    gene_key: str | None = None,
    direction: Literal["top", "sum", "counts"] | None = None,
    metrics: pd.DataFrame | None = None,
    use_rep: str = LATENT,
    title: str = "Mapped cells",
    seed: int = 0,
) -> Report:
    """One page about a mapped query: an interactive map of the cells, programs, labels, metrics.

    Parameters
    ----------
    path
        Where to write the page; nowhere unless told.
    reference, model
        The reference with its embedding, and the model with the graft, which adds the genes of programs.
    labels, truth, groupby, color
        The label that was carried over, the column with the true one, the groups that programs are shown for, programs to
        colour by.
    genes, layer, use_raw, gene_key
        Genes to colour by, and where their expression and their names stand.
    label_map
        What labels of the query are called in the reference, old names to new ones.
    direction
        How a program's direction is read off its weights: ``"top"``, ``"sum"`` or ``"counts"``.
    metrics
        The table of :func:`evaluate`.
    use_rep, title, seed
        The embedding, the title, the seed of the picture of cells.

    Returns
    -------
    The page; a notebook shows it.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, batch_key="batch", programs=sim.programs, max_epochs=2, progress=False)
    >>> mapped = model.map(sim.query, max_epochs=1, progress=False)
    >>> mapped.to_adata()
    >>> page = sg.tl.report(sim.query, model=mapped)
    >>> page.html[:15].lower()
    '<!doctype html>'
    """
    need("obs has no such column", _copied(adata, False).obs, truth=truth, groupby=groupby)
    page = page_of(
        adata, reference, model=None if model is None else as_model(model), metrics=metrics, use_rep=use_rep, layer=layer,
        use_raw=use_raw, gene_key=gene_key,
        genes=listed(genes), title=title, label=labels, truth=truth, groups=groupby, color=listed(color), direction=direction,
        renamed=[[str(a), str(b)] for a, b in dict(label_map or {}).items()], seed=whole("seed", seed), map=False,
    )  # fmt: skip
    out = Report(page)
    if path is not None:
        out.save(path)
    return out


def page_of(
    adata: AnnData,
    reference: AnnData | Model | str | Path | None,
    *,
    model: Model | None = None,
    metrics: pd.DataFrame | None = None,
    use_rep: str = LATENT,
    layer: str | None = None,
    use_raw: bool = False,
    gene_key: str | None = None,
    genes: Sequence[str] = (),
    color: Sequence[str] = (),
    **plan: Any,
) -> str:
    """The report's page, or its map alone, as text."""
    mine = stored(adata, use_rep, every=True, obsm=matrices(adata, tables=True))
    if use_rep == LATENT and "scgraft_weights" in adata.varm:
        mine.set_varm("scgraft_weights", dense(adata.varm["scgraft_weights"], 'varm["scgraft_weights"]'))
    known = None
    if reference is not None:
        reference = _reference(reference)
        known = of_reference(reference, use_rep, every=True, obsm=matrices(reference, tables=True))
    slots = Slots(layer=layer, use_raw=use_raw, gene_key=gene_key)
    put_genes([(adata, mine), (reference, known)], slots, [*genes, *color])
    asked = {**plan, "key": LATENT, "genes": list(genes), "color": list(color),
             "slot": "raw" if use_raw else "X", "layer": layer, "gene_key": gene_key}  # fmt: skip
    return _native.report(mine, known, None if model is None else model._native,
                          None if metrics is None else frame(metrics), json.dumps(asked), _threads(None))  # fmt: skip


class Report:
    """A page about mapped cells.

    Attributes
    ----------
    html
        The page, whole: it needs no other file.
    """

    def __init__(self, page: str, height: int = 720):
        self.html, self.height = page, whole("height", height)

    def save(self, path: str | Path) -> None:
        """Write the page."""
        Path(path).write_text(self.html, encoding="utf-8")

    def __repr__(self) -> str:
        return f"Report({len(self.html) // 1000:,} kB; save(path) writes the page)"

    def _repr_html_(self) -> str:
        import html

        return f'<iframe srcdoc="{html.escape(self.html)}" width="100%" height="{self.height}" style="border:0"></iframe>'
