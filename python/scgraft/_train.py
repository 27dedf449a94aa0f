"""References: the base models there are, and how one is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from . import _native
from ._adata import Slots, among, cells, in_words, listed, nearest, need, opened
from ._load import as_model
from ._model import Model
from ._native import ScgraftError
from ._plan import as_json, checkpoint_of, fit_of, settings_of, threads_of
from ._programs import gene_sets
from ._progress import Epochs
from ._settings import whole

if TYPE_CHECKING:
    from anndata import AnnData


def models() -> pd.DataFrame:
    """The base models: what each is, what it needs besides counts, when to use it.

    Returns
    -------
    One row a model, indexed by the name that ``train(model=...)`` takes.

    Examples
    --------
    >>> import scgraft as sg
    >>> sg.models().loc["expimap", "needs"]
    'gene programs'
    """
    table = pd.DataFrame(_native.models()).set_index("name")[["summary", "needs", "takes", "gives", "when", "cite"]]
    for name in ("needs", "takes"):
        table[name] = [", ".join(v) for v in table[name]]
    return table


def train(
    adata: AnnData | str | Path,
    *,
    model: str = "expimap",
    batch_key: str | Sequence[str] | None = None,
    batch_name: str | None = None,
    labels_key: str | None = None,
    unlabeled_category: str | None = None,
    programs: Mapping[str, Sequence[str]] | pd.DataFrame | str | Path | Sequence[str | Path] | None = None,
    start: Model | str | Path | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    gene_key: str | None = None,
    protein_key: str | None = None,
    protein_names_key: str | None = None,
    categorical_covariate_keys: Sequence[str] = (),
    continuous_covariate_keys: Sequence[str] = (),
    n_top_genes: int | None = 2000,
    flavor: Literal["seurat", "cell_ranger", "seurat_v3", "seurat_v3_paper"] = "seurat",
    genes: Sequence[str] | None = None,
    min_genes: int | None = None,
    max_genes: int | None = None,
    exact_case: bool = False,
    keep_outside_programs: bool = False,
    soft: bool = False,
    n_free_programs: int = 0,
    only_programs: str | Sequence[str] = (),
    exclude_programs: str | Sequence[str] = (),
    orthologs: str | Path | None = None,
    ortholog_rule: str = "one-to-one",
    fractions: Literal["accept", "round", "refuse"] | None = None,
    gene_names: str | Sequence[str] | None = None,
    client: Any = None,
    max_epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    early_stopping: bool | None = None,
    train_size: float | None = None,
    published: bool = False,
    seed: int | None = None,
    threads: int | None = None,
    progress: bool | None = None,
    callback: Callable[[dict[str, Any]], bool | None] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 120,
    resume: bool = False,
    **settings: Any,
) -> Model:
    """Train a reference.

    Parameters
    ----------
    adata
        Cells of the reference, raw counts (log-normalised values for ``likelihood="mse"``); an AnnData in memory, backed
        or with Dask arrays, a MuData, or the path of an h5ad file, of which only what the genes need is read.
    model
        The base model; :func:`models` lists them.
    batch_key
        Column of ``obs`` with the batch (study, condition) of each cell; several are joined.
    batch_name
        Instead: one name for all cells, for data that is one batch.
    labels_key, unlabeled_category
        Column of ``obs`` with cell labels, for models that learn them, and its value that means unlabelled.
    programs
        Gene programs, for models that have them: a dictionary of genes by name, GMT files, the name of a mask in
        ``varm`` (genes × programs), or a long table with columns such as ``source`` and ``target``.
    start
        A trained model, or its file, to start from: its genes, its settings and the tensors that both have (scANVI from scVI).
    layer, use_raw, gene_key
        Where the counts stand, instead of ``X``; the column of ``var`` with the gene names, instead of its row names.
    protein_key, protein_names_key
        Entry of ``obsm`` with protein counts, for models of proteins (``protein_expression`` is found by itself), and of
        ``uns`` with their names.
    categorical_covariate_keys, continuous_covariate_keys
        Columns of ``obs`` with further covariates, which a query has to have as well.
    n_top_genes, flavor
        How many of the most variable genes are kept (``None``: all), and how variability is scored, by scanpy's names.
    genes
        Exactly these genes instead.
    orthologs, ortholog_rule
        For gene sets of another species: a table of orthologs and its rule, as :meth:`Model.map` takes them.
    min_genes, max_genes, exact_case, keep_outside_programs, soft, n_free_programs
        Sizes of programs in genes of the data; whether gene names are matched as they are written; whether chosen genes
        in no program stay; whether gene sets bind softly; programs without gene set to add
        (chosen genes in no program then stay).
    only_programs, exclude_programs
        Patterns of the names of gene sets that are taken, and of those that are not; ``*`` stands for any text, ``?`` for
        any letter.
    fractions
        What to do about counts that are not whole, as after a correction: ``"accept"`` them, ``"round"`` or ``"refuse"``
        them; judged by how they look unless told.
    gene_names
        What to look past in names of genes, here and in gene sets: ``"trim"``, ``"strip-prefix"``, ``"symbol"``, ``"id"``,
        ``"strip-version"``, ``"punctuation"``, ``"upper"``, several in their order. The model remembers it.
    client
        For Dask arrays: a ``dask.distributed`` client that computes their blocks, one after the other; Dask's own scheduler
        unless told.
    max_epochs, batch_size, lr, early_stopping, train_size
        The fit; what is left out is the model's own.
    published
        Reproduce the numerics of the published code.
    seed, threads, progress
        Instead of those of :data:`scgraft.settings`.
    callback
        Called after every epoch with ``{"epoch", "epochs", "train", "validation"}``; ``True`` stops the fit.
    checkpoint, checkpoint_every, resume
        A file where the fit keeps its state every so many seconds, and when it is stopped; whether to go on from it, to
        the same bits as in one go.
    settings
        Any other setting of the model (``hidden``, ``latent``, ``likelihood``, ``kl_weight``, …) or of the fit
        (``patience``, ``weight_decay``, ``kl_anneal``, ``stratified``, ``samples_per_label``, ``thinning``).

    Returns
    -------
    The trained model.

    Raises
    ------
    ScgraftError
        Values that are no counts, names that are empty or stand twice, columns that are not there, settings that the
        model does not have; the message says what was found and what to do.
    FileNotFoundError
        A file that is not there.
    KeyboardInterrupt
        The user stopped it, or ``callback`` did.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, batch_key="batch", programs=sim.programs, max_epochs=2, progress=False)
    >>> model
    Model(expimap: 760 genes, 40 programs, conditions reference_1, reference_2, reference_3)
    """
    slots, fit = Slots.of(locals()), fit_of({**settings, **locals()})
    data = opened(adata)
    begin = None if start is None else as_model(start, "start")._native
    known = {m["name"]: m for m in _native.models()}
    need("there is no such model", known, model=model)
    for needed, given, argument in (("gene programs", programs, "programs"), ("cell labels", labels_key, "labels_key")):
        if needed in known[model]["needs"] and given is None:
            raise ScgraftError(f"the model {model} needs {needed}: give {argument}=")
    if "protein counts" in known[model]["needs"] and protein_key is None and "protein_expression" not in data.obsm:
        there = nearest("protein_expression", data.obsm)
        raise ScgraftError(f"the model {model} needs protein counts: give protein_key=, an entry of obsm; there are: {there}")
    sets = gene_sets(programs, data, slots.genes(data))
    listed_genes = None if genes is None else listed(genes)
    options = {
        "model": model, "settings": settings_of(settings, Model.map, "scgraft.train", "Model.map"), "data": slots.options(data),
        "fit": fit, "n_top_genes": n_top_genes, "flavor": flavor, "genes": listed_genes, "min_genes": min_genes,
        "max_genes": max_genes, "exact_case": exact_case, "keep_outside_programs": keep_outside_programs, "soft": soft,
        "n_free_programs": whole("n_free_programs", n_free_programs), "only_programs": listed(only_programs),
        "exclude_programs": listed(exclude_programs),
    }  # fmt: skip

    def wanted(of: list[str]) -> list[bool] | None:
        named = listed_genes if begin is None else begin.genes
        if slots.gene_names is None and named is not None:
            return among(of, named)
        if slots.gene_names is None and sets and not (keep_outside_programs or n_free_programs) and orthologs is None:
            return among(of, [g for _, some in sets for g in some], case=exact_case)
        return None

    kept = checkpoint_of(checkpoint, resume, checkpoint_every)
    with Epochs("training", progress, callback) as epochs, in_words(data, slots):
        given = cells(data, slots, wanted)
        native, report = _native.train(given, sets, begin, as_json(options), threads_of(threads), epochs, kept)
    return Model(native, adata=adata, slots=slots, report=report)
