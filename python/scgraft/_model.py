"""Models as objects: grafted onto by queries, asked for what they know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
import pandas as pd

from . import _native
from ._adaptor import Adaptor
from ._adata import SLOTS, Slots, among, cells, in_words, listed, nearest, need, opened, put, put_counts, with_obs
from ._frames import csr_from, frame_from, names
from ._native import ScgraftError
from ._plan import as_json, checkpoint_of, fit_of, settings_of, threads_of
from ._programs import gene_sets
from ._progress import Epochs
from ._settings import number, whole
from ._settings import settings as session
from ._shown import shown
from ._stored import LATENT, PICTURE, picture, renamed
from .hub import card_words

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy import sparse

    Given: TypeAlias = AnnData | str | Path | None
    Rows: TypeAlias = Sequence[int] | np.ndarray | None


def _model(data: bytes, more: dict[str, Any]) -> Model:
    model = Model(_native.Model.from_bytes(data))
    model.__dict__.update(more)
    return model


class Model:
    """A trained model.

    It does not change: mapping a query gives a new one, with the query's graft. Made by :func:`train`, :func:`load`,
    :func:`import_model` and :meth:`Model.map`.

    Attributes
    ----------
    adata
        The cells that it was trained on or mapped last, where this session has them; what methods take when they are
        given no others.
    adaptor
        Of a mapped model: what the query added; ``None`` where nothing was, or shared layers were trained.
    report
        How the fit went: epochs, steps, whether it arrived.
    imported
        Of an imported model: package, version, class, notes.

    Examples
    --------
    >>> import scgraft as sg
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = sg.train(sim.reference, batch_key="batch", programs=sim.programs, max_epochs=2, progress=False)
    >>> model.get_latent_representation().shape
    (300, 40)
    """

    def __init__(
        self,
        native: _native.Model,
        *,
        adata: Any = None,
        slots: Slots | None = None,
        report: dict[str, Any] | None = None,
        adaptor: Adaptor | None = None,
    ):
        self._native = native
        self.adata = adata
        self._slots = slots or Slots()
        self._prepared: _native.Prepared | None = None
        self.report = report
        self.adaptor = adaptor
        self.imported: dict[str, Any] | None = None
        self._written: dict[str, Any] | None = None

    @staticmethod
    def load(path: str | Path) -> Model:
        """Read a model file; see :func:`scgraft.load`."""
        from ._load import load

        return load(path)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the model: weights and names, no cells.

        Parameters
        ----------
        path
            The file; it appears whole or not at all.
        overwrite
            Whether a file of that name may be replaced.
        """
        if Path(path).exists() and not overwrite:
            raise FileExistsError(f"{path}: the file is there already; give overwrite=True to replace it")
        self._native.save(str(path))

    def export(self, folder: str | Path, *, to: Literal["scvi-tools"] = "scvi-tools") -> str:
        """Write the model as scvi-tools (1.4, 1.5) loads it.

        Conditions that queries added are batches there. A model that scvi-tools has no equal of is refused.

        Parameters
        ----------
        folder
            A new folder, an empty one, or one with an earlier model of scvi-tools alone.
        to
            The package.

        Returns
        -------
        The class of scvi-tools: ``scvi.model.<class>.load(folder, adata)`` reads it.

        Examples
        --------
        >>> import tempfile
        >>> import scgraft as sg
        >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
        >>> model = sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=1, progress=False)
        >>> model.export(tempfile.mkdtemp())
        'SCVI'
        """
        if to != "scvi-tools":
            raise ScgraftError(f"to={to!r}: models are exported to 'scvi-tools'")
        return self._native.export(str(folder))[0]

    def bundle(self, columns: str | Sequence[str] = (), adata: AnnData | None = None) -> Model:
        """The model with the cells that it was trained on: where they lie and what they are called, no counts, no names.

        It is a reference of its own: :func:`scgraft.tl.annotate`, :func:`scgraft.tl.umap` and :func:`scgraft.tl.enrich` take it
        in place of the AnnData, and so does the command line.

        Parameters
        ----------
        columns
            Columns of ``obs`` to bring; those of its conditions come along.
        adata
            The cells of the reference; those of this session unless told. Their picture comes along, where
            :func:`scgraft.tl.umap` made one.

        Examples
        --------
        >>> import scgraft as sg
        >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
        >>> model = sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=1, progress=False)
        >>> model.bundle("cell_type").n_reference_cells
        300
        """
        data = self._adata(adata)
        columns = listed(columns)
        wanted = dict.fromkeys([*self.provenance.get("condition_columns", ()), *columns], "columns")
        cells = with_obs(data, wanted)
        put_counts(data, self._native.genes, cells)
        if (drawn := picture(data)) is not None:
            cells.set_obsm(PICTURE, np.asarray(data.obsm[drawn], dtype=np.float32))
        return Model(self._native.bundle(self._ready(adata), cells, columns), slots=self._slots)

    @property
    def n_reference_cells(self) -> int:
        """How many cells of its reference it brings (:meth:`bundle`)."""
        return self._native.n_reference_cells

    def card(self, name: str = "model.scgraft", *, at: str = "hf:LAB/NAME", **words: Any) -> str:
        """The card that goes beside a shared model: what the model says of itself, and what only its authors know.

        Parameters
        ----------
        name
            The name of its file.
        at
            The address that it will have.
        words
            ``title``, ``summary``, ``authors``, ``licence``, ``data``, ``organism``, ``tissues``, ``metrics`` (by name),
            ``cite``, ``related``.

        Examples
        --------
        >>> import scgraft as sg
        >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
        >>> model = sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=1, progress=False)
        >>> "# Bone marrow" in model.card(title="Bone marrow", authors=["Curie, Marie"], metrics={"accuracy": 0.7})
        True
        """
        return self._native.card(name, at, card_words(words))

    # What it is.

    @property
    def name(self) -> str:
        """The base model's name."""
        return self._native.name

    @property
    def var_names(self) -> pd.Index:
        """The genes, in order."""
        return pd.Index(self._native.genes, dtype=object)

    @property
    def conditions(self) -> list[str]:
        """The conditions (batches, studies) that it knows."""
        return self._native.conditions

    @property
    def labels(self) -> list[str]:
        """The labels that it predicts; empty for a model that predicts none."""
        return self._native.labels

    @property
    def proteins(self) -> list[str]:
        """The proteins; empty for a model without."""
        return self._native.proteins

    @property
    def grafts(self) -> list[str]:
        """The names of the grafts."""
        return self._native.grafts

    @property
    def latent_names(self) -> list[str]:
        """The names of the latent dimensions: gene programs where they are programs."""
        return self._native.latent_names

    @property
    def n_latent(self) -> int:
        """How many latent dimensions."""
        return len(self._native.latent_names)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the model."""
        return self._native.settings

    @property
    def provenance(self) -> dict[str, Any]:
        """How it came about."""
        return self._native.provenance

    @property
    def reference_hash(self) -> str:
        """What names the reference under all grafts: equal for models whose reference is the same to the bit."""
        return self._native.reference_hash

    @property
    def history(self) -> pd.DataFrame:
        """The fit, epoch by epoch: the terms of the loss (nats per cell) on training and validation cells."""
        table = frame_from(self._native.history)
        table.index = pd.RangeIndex(len(table), name="epoch")
        return table

    def parameters(self) -> dict[str, np.ndarray]:
        """Every tensor, copied, by its name."""
        return {name: self._native.parameter(name) for name, _ in self._native.parameters}

    # Programs.

    def program_weights(self) -> pd.DataFrame:
        """The decoder's weights of every gene in every program.

        Returns
        -------
        Genes × programs, natural log of expression per unit of score.

        Raises
        ------
        ScgraftError
            The model has no programs.
        """
        weights = self._native.program_weights()
        if weights is None:
            raise ScgraftError(f"the model {self.name} has no gene programs; train one that has, such as expimap")
        return pd.DataFrame(weights, index=self.var_names, columns=self.latent_names)

    def programs(self, direction: str = "top") -> pd.DataFrame:
        """The gene programs: their sizes, directions and heaviest genes.

        Parameters
        ----------
        direction
            The rule by which a program's direction is told: ``"top"``, ``"sum"`` or ``"counts"``.

        Returns
        -------
        One row a program: ``graft``, ``active`` (the fit kept it), ``set_size``, ``n_genes`` with a weight, ``direction``
        (1: a higher score means that its genes are up), ``direction_confidence`` (0 to 1), ``top_genes``, ``stand_in``.
        """
        found = self._native.programs(direction)
        if found is None:
            raise ScgraftError(f"the model {self.name} has no gene programs; train one that has, such as expimap")
        for p in found:
            p |= {"n_genes": len(p["genes"]), "top_genes": ", ".join(g[0] for g in p["genes"][:10]),
                  "stands_for": ", ".join(p["stands_for"])}  # fmt: skip
        columns = ["graft", "active", "set_size", "n_genes", "direction", "direction_confidence", "top_genes", "entropy",
                   "stand_in", "stands_for"]  # fmt: skip
        return pd.DataFrame(found, pd.Index([p["name"] for p in found], name="program", dtype=object), columns)

    def program_genes(self, program: str) -> pd.DataFrame:
        """The genes of a program, the heaviest first: weight, share of all absolute weights, whether in its gene set."""
        found = {p["name"]: p["genes"] for p in self._native.programs("top") or []}
        need("the model has no such program", found, program=program)
        return pd.DataFrame(found[program], columns=["gene", "weight", "share", "in_set"]).set_index("gene")

    def compare_programs(
        self, against: Mapping[str, Sequence[str]] | pd.DataFrame | str | Path | Sequence[str | Path], *,
        programs: str | Sequence[str] = (), top: int = 50,
    ) -> pd.DataFrame:  # fmt: skip
        """Programs against known gene sets: what a new one is about.

        Parameters
        ----------
        against
            Gene sets, as :func:`train` takes them.
        programs
            Which programs; those without gene set (new, free) unless told.
        top
            The heaviest genes of a program that are compared.

        Returns
        -------
        One row a program and gene set, the most significant overlap first: ``overlap``, ``set_size``, ``fold``,
        ``jaccard``, ``p``, ``p_adjusted`` of over-representation among the model's genes; ``auroc``,
        ``cerno_p_adjusted``, ``camera_t``, ``camera_p_adjusted`` of the set among all genes by weight; ``genes`` shared.

        Examples
        --------
        >>> import scgraft as sg
        >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
        >>> model = sg.train(sim.reference, batch_key="batch", programs=sim.programs, max_epochs=2, progress=False)
        >>> first = model.latent_names[0]
        >>> model.compare_programs(sim.programs, programs=first, top=10)["gene_set"].iloc[0] == first
        True
        """
        table = self.programs()
        wanted = listed(programs) or table.index[(table["set_size"] == 0) & table["active"]].tolist()
        if not wanted:
            raise ScgraftError("the model has no active program without gene set; name some: programs=")
        for name in wanted:
            need("the model has no such program", table.index, programs=name)
        sets = gene_sets(against, None)
        found = [frame_from(self._native.resemblances(n, sets, whole("top", top), session.threads)).reset_index() for n in wanted]
        for name, rows in zip(wanted, found, strict=True):
            rows.insert(0, "program", name)
        return pd.concat(found, ignore_index=True)

    # Grafting.

    def attach(self, *adaptors: Adaptor | str | Path) -> Model:
        """The model with adaptors of its reference; their order makes no difference.

        Parameters
        ----------
        adaptors
            Adaptors, or the paths of their files.
        """
        for a in adaptors:
            if not isinstance(a, (Adaptor, str, Path)):
                raise ScgraftError(f"adaptors: expected adaptors, or the paths or addresses of some, found {type(a).__name__}; a "
                                   "mapped model has its own as .adaptor")  # fmt: skip
        loaded = [a if isinstance(a, Adaptor) else Adaptor.load(a) for a in adaptors]
        return Model(self._native.attach([a._native for a in loaded]), slots=self._slots)

    def map(
        self,
        adata: AnnData | str | Path,
        *,
        name: str | None = None,
        batch_key: str | Sequence[str] | None = None,
        batch_name: str | None = None,
        labels_key: str | None = None,
        unlabeled_category: str | None = None,
        layer: str | None = None,
        use_raw: bool | None = None,
        gene_key: str | None = None,
        protein_key: str | None = None,
        protein_names_key: str | None = None,
        categorical_covariate_keys: Sequence[str] = (),
        continuous_covariate_keys: Sequence[str] = (),
        min_overlap: float | None = None,
        orthologs: str | Path | None = None,
        ortholog_rule: str = "one-to-one",
        fractions: Literal["accept", "round", "refuse"] | None = None,
        gene_names: str | Sequence[str] | None = None,
        client: Any = None,
        surgery: Literal["adaptor", "first_layers", "all"] = "adaptor",
        new_programs: int | Mapping[str, Sequence[str]] | str | Path = 0,
        n_free_programs: int = 0,
        reactivate: Sequence[str] = (),
        soft: bool = False,
        min_genes: int | None = None,
        fit_cells: int | None = None,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        early_stopping: bool | None = None,
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
        """Graft a query on.

        Only the weights of the query's own batches train; the reference stays identical to the bit. A query whose batches
        the model already knows is encoded without training.

        Parameters
        ----------
        adata
            Cells of the query, as :func:`train` takes them. Genes are aligned by name.
        name
            The name of the graft; ``batch_name`` or ``"query"`` unless told.
        batch_key, batch_name
            The batch of each cell, or one name for all; the columns that the reference's are from unless told.
        layer, use_raw, gene_key, protein_key, protein_names_key, labels_key, unlabeled_category
            As in :func:`train`; those of this model unless told.
        orthologs, ortholog_rule
            For cells, or ``new_programs``, of another species: a table (Ensembl BioMart, HCOP, or two columns of names), and
            which of its pairs count: ``"one-to-one"``, ``"best"`` (each the other's best supported) or ``"all"`` (counts of
            several genes that become one are summed). The model remembers what the genes became.
        fractions, gene_names, client
            As in :func:`train`; the model remembers what its query was mapped with.
        min_overlap
            The least share of the model's genes that the query must have, 0 to 1; 0.5 unless told.
        surgery
            What may change: the query's ``"adaptor"``, also the ``"first_layers"``, or ``"all"``.
        new_programs
            For models with programs: how many programs to learn from the query, or gene sets to add.
        n_free_programs
            How many to learn beside such gene sets.
        reactivate
            Pruned programs of the reference to bring back.
        soft, min_genes
            Whether added gene sets bind softly, and how few genes they may have (5).
        fit_cells
            Cells of each batch to fit on at most; all are encoded.

        Other parameters are those of :func:`train`.

        Returns
        -------
        The model with the graft; its ``Model.adaptor`` is what the query added, its
        :meth:`Model.get_latent_representation` where the cells lie.

        Examples
        --------
        >>> import scgraft as sg
        >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
        >>> model = sg.train(sim.reference, model="scvi", batch_key="batch", max_epochs=1, progress=False)
        >>> mapped = model.map(sim.query, max_epochs=1, progress=False)
        >>> mapped.conditions
        ['reference_1', 'reference_2', 'reference_3', 'query_1', 'query_2']
        >>> mapped.reference_hash == model.reference_hash
        True
        """
        given, fit = locals(), fit_of({**settings, **locals()})
        from ._train import train

        data = opened(adata)
        slots = self._slots_of(data, given)
        if isinstance(new_programs, (int, np.integer)):
            sets, free = [], whole("new_programs", new_programs) + whole("n_free_programs", n_free_programs)
        else:
            sets, free = gene_sets(new_programs, data, slots.genes(data)), whole("n_free_programs", n_free_programs)
        options = {
            "name": name or batch_name or "query", "settings": settings_of(settings, train, "Model.map", "scgraft.train"),
            "data": slots.options(data), "fit": fit, "surgery": surgery, "fit_cells": fit_cells, "new_programs": free,
            "soft": soft, "min_genes": min_genes, "reactivate": listed(reactivate),
        }  # fmt: skip
        kept = checkpoint_of(checkpoint, resume, checkpoint_every)
        with Epochs(f"mapping {options['name']}", progress, callback) as epochs, in_words(data, slots):
            query = self._cells(data, slots)
            native, added, prepared, written, report = _native.map_cells(
                self._native, query, sets, as_json(options), threads_of(threads), epochs, kept
            )
        adaptor = None if added is None else Adaptor(added)
        out = Model(native, adata=adata, slots=slots, report=report, adaptor=adaptor)
        out._prepared, out._written = prepared, written
        return out

    def to_adata(self, adata: AnnData | None = None, *, key_added: str = LATENT, copy: bool = False) -> AnnData | None:
        """Write where the cells lie, and what the dimensions mean, into the slots of an AnnData.

        ``obsm[key_added]`` gets the posterior means (cells × dimensions), ``obsm[key_added + "_var"]`` the variances,
        ``varm["scgraft_weights"]`` the decoder's weights of models with programs, ``uns["scgraft"]`` names, directions,
        settings and history.

        Parameters
        ----------
        adata
            The cells; those that were mapped unless told.
        key_added
            The name of the embedding.
        copy
            Whether to write into a copy, and give it.
        """
        data = self._adata(adata)
        target = data.copy() if copy else data
        written = None
        if adata is None:
            written, self._written = self._written, None
        if written is None:
            genes = self._slots.genes(data) or names(data.var_names)
            written = self._native.embed(self._ready(adata), genes, session.threads)
        put(target, renamed(written, key_added))
        return target if copy else None

    # What it says of cells.

    @overload
    def get_latent_representation(
        self, adata: Given = ..., *, indices: Rows = ..., return_dist: Literal[False] = ..., **where: Any
    ) -> np.ndarray: ...
    @overload
    def get_latent_representation(
        self, adata: Given = ..., *, indices: Rows = ..., return_dist: bool, **where: Any
    ) -> tuple[np.ndarray, np.ndarray]: ...
    def get_latent_representation(
        self,
        adata: AnnData | str | Path | None = None,
        *,
        indices: Rows = None,
        return_dist: bool = False,
        **where: Any,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Where cells lie in the latent space: the posterior means.

        Parameters
        ----------
        adata
            Cells of batches that the model knows; those it was trained on or mapped last unless told.
        indices
            Rows of the cells wanted; all unless told.
        return_dist
            Give the variances of the posterior as well.
        where
            ``batch_key``, ``layer``, … as in :meth:`Model.map`, where they differ from this model's.

        Returns
        -------
        Cells × dimensions, float32; with ``return_dist`` means and variances.
        """
        mean, variance = self._native.latent(self._ready(adata, indices, where), session.threads)
        return (mean, variance) if return_dist else mean

    @overload
    def get_normalized_expression(
        self, adata: Given = ..., *, indices: Rows = ..., transform_batch: str | Sequence[str] | None = ...,
        gene_list: Sequence[str] | None = ..., library_size: float | Literal["latent"] = ..., n_samples: int = ...,
        seed: int = ..., return_numpy: Literal[False] = ..., **where: Any,
    ) -> pd.DataFrame: ...  # fmt: skip
    @overload
    def get_normalized_expression(self, adata: Given = ..., *, return_numpy: bool, **more: Any) -> np.ndarray: ...
    def get_normalized_expression(
        self,
        adata: AnnData | str | Path | None = None,
        *,
        indices: Rows = None,
        transform_batch: str | Sequence[str] | None = None,
        gene_list: Sequence[str] | None = None,
        library_size: float | Literal["latent"] = 1.0,
        n_samples: int = 0,
        seed: int = 0,
        return_numpy: bool = False,
        **where: Any,
    ) -> pd.DataFrame | np.ndarray:
        """Expression as the model sees it, free of noise.

        Parameters
        ----------
        adata, indices, where
            As in :meth:`Model.get_latent_representation`.
        transform_batch
            Decode as of this batch, or as of each of these and average; ``"all"`` takes every batch that the model knows;
            each cell's own unless told.
        gene_list
            Only these genes.
        library_size
            What a cell's genes sum to; ``"latent"`` takes each cell's own.
        n_samples
            Draws from the posterior to average over; 0 decodes its mean.
        seed
            Seed of the draws.
        return_numpy
            Give the array instead of a table.

        Returns
        -------
        Cells × genes.
        """
        data = self._ready(adata, indices, where)
        batches = listed(transform_batch)
        genes = listed(gene_list)
        size, draws, seed = _library(library_size), whole("n_samples", n_samples), whole("seed", seed)
        values = self._native.expression(data, batches, size, draws, genes, seed, session.threads)
        if return_numpy:
            return values
        return pd.DataFrame(values, index=self._rows(adata, indices), columns=genes or self.var_names, copy=False)

    def posterior_predictive_sample(
        self,
        adata: AnnData | str | Path | None = None,
        *,
        indices: Rows = None,
        seed: int = 0,
        **where: Any,
    ) -> sparse.csr_matrix:
        """Counts drawn from what the model expects of each cell.

        Returns
        -------
        Cells × genes of the model, counts.
        """
        return csr_from(self._native.draws(self._ready(adata, indices, where), whole("seed", seed), session.threads))

    def get_likelihood(
        self,
        adata: AnnData | str | Path | None = None,
        *,
        indices: Rows = None,
        n_marginal_samples: int = 0,
        seed: int = 0,
        **where: Any,
    ) -> pd.DataFrame:
        """How well the model explains each cell, in nats.

        Parameters
        ----------
        n_marginal_samples
            Draws of the estimate of the marginal likelihood; 0 leaves it out.

        Returns
        -------
        Cells × ``reconstruction_error``, ``elbo`` and, where asked for, ``marginal_log_likelihood``.
        """
        data = self._ready(adata, indices, where)
        draws, seed = whole("n_marginal_samples", n_marginal_samples), whole("seed", seed)
        error, elbo, marginal = self._native.likelihood(data, draws, seed, session.threads)
        table = pd.DataFrame({"reconstruction_error": error, "elbo": elbo}, index=self._rows(adata, indices))
        if marginal is not None:
            table["marginal_log_likelihood"] = marginal
        return table

    @overload
    def predict(
        self, adata: Given = ..., *, indices: Rows = ..., soft: Literal[False] = ..., **where: Any
    ) -> pd.Series: ...
    @overload
    def predict(self, adata: Given = ..., *, indices: Rows = ..., soft: bool, **where: Any) -> pd.DataFrame: ...
    def predict(
        self,
        adata: AnnData | str | Path | None = None,
        *,
        indices: Rows = None,
        soft: bool = False,
        **where: Any,
    ) -> pd.Series | pd.DataFrame:
        """Labels by the model's own classifier (scanvi).

        Parameters
        ----------
        soft
            Give the probability of every label.

        Returns
        -------
        A label per cell; with ``soft`` cells × labels, rows that sum to 1.

        Raises
        ------
        ScgraftError
            The model has no classifier; :func:`scgraft.tl.annotate` carries labels over for any model.
        """
        found = self._native.predict(self._ready(adata, indices, where), session.threads)
        if found is None:
            raise ScgraftError(
                f"{self.name} has no classifier of its own; train scanvi, or carry labels over with scgraft.tl.annotate"
            )
        levels, codes, probabilities, _ = found
        index = self._rows(adata, indices)
        if soft:
            return pd.DataFrame(probabilities, index=index, columns=levels, copy=False)
        name = self.provenance.get("label_column", "label")
        return pd.Series(pd.Categorical.from_codes(codes.astype(np.int32), levels), index=index, name=f"{name}_pred")

    def get_proteins(
        self,
        adata: AnnData | str | Path | None = None,
        *,
        indices: Rows = None,
        transform_batch: str | Sequence[str] | None = None,
        kind: Literal["denoised", "total", "foreground"] = "denoised",
        efficiency: bool = False,
        **where: Any,
    ) -> pd.DataFrame:
        """Proteins of a model that has them (totalvi), those that a batch did not measure imputed.

        Parameters
        ----------
        transform_batch
            Decode as of these batches and average; unless told each cell's own, or those that measured the protein.
        kind
            ``"denoised"``: counts expected without background; ``"total"``: with it; ``"foreground"``: the probability
            that a count is no background.
        efficiency
            Levels as the batch counted them, with the efficiency of its staining; without, as in scvi-tools, those of an
            efficiency of 1 in every batch, which can be compared but are not the measured ones.

        Returns
        -------
        Cells × proteins.
        """
        kinds = ["denoised", "total", "foreground"]
        need("there is no such kind", kinds, kind=kind)
        ready = self._ready(adata, indices, where)
        found = self._native.protein_estimates(ready, listed(transform_batch), efficiency, session.threads)
        return pd.DataFrame(found[kinds.index(kind)], index=self._rows(adata, indices), columns=self.proteins, copy=False)

    def differential_expression(
        self,
        adata: AnnData | str | Path | None = None,
        *,
        groupby: str,
        group1: str | Sequence[str] | None = None,
        group2: str | None = None,
        mode: Literal["change", "vanilla"] = "change",
        delta: float = 0.25,
        fdr: float = 0.05,
        pseudocount: float | None = None,
        both_directions: bool = False,
        n_samples: int = 5000,
        transform_batch: str | Sequence[str] | None = None,
        within: str | None = None,
        donor_key: str | None = None,
        seed: int = 0,
        **where: Any,
    ) -> pd.DataFrame:
        """Genes that differ between groups of cells, by the model.

        Parameters
        ----------
        groupby
            Column of ``obs`` with the groups; cells without a value are left out.
        group1, group2
            The groups to test (all unless told), and what they are compared with (all other cells unless told).
        mode, delta, fdr, pseudocount, both_directions
            ``"change"`` asks whether the log2 fold change passes ``delta`` and calls genes at this false discovery rate;
            ``"vanilla"`` whether expression is larger.
        n_samples
            Draws of each group.
        transform_batch
            Decode both groups as of these batches in turn (``"all"``: every one), so that batches do not tell them apart.
        within
            Column of ``obs`` within each level of which groups are compared, where both sides have ten cells.
        donor_key
            Column of ``obs`` with the donor of each cell: adds a t test over donors, each the sum of its cells, paired where
            two or more have cells on both sides, else Welch's (columns ``donor_…``).
        seed
            Seed of the draws.

        Returns
        -------
        One row a gene and comparison (``group``, ``comparison``, ``within``): first the genes higher in the group, then those
        lower, ranked. ``probability``, ``log_bayes_factor``, ``lfc_mean``, ``lfc_median``, ``lfc_sd``, ``lfc_min``, ``lfc_max``
        (log2), ``mean_group``, ``mean_comparison`` (shares of a cell's counts), ``differs``, ``effect``, ``higher``, ``rank``.
        """
        data = self._adata(adata)
        asked = {groupby: "groupby", within: "within", donor_key: "donor_key"}
        groups = with_obs(data, {key: argument for key, argument in asked.items() if key is not None})
        plan = {
            "groups": groupby, "group": listed(group1), "versus": None if group2 is None else str(group2),
            "draws": whole("n_samples", n_samples, 1), "as_conditions": listed(transform_batch), "mode": mode,
            "delta": number("delta", delta), "pseudocount": pseudocount, "both_directions": bool(both_directions),
            "fdr": number("fdr", fdr), "seed": whole("seed", seed), "donors": donor_key, "within": within,
        }  # fmt: skip
        ready = self._ready(adata, None, where)
        found = _native.differential(self._native, groups, ready, as_json(plan), session.threads)
        return frame_from(found).reset_index(drop=True)

    # Inside.

    def _slots_of(self, data: AnnData, given: Mapping[str, Any]) -> Slots:
        """Where things stand in these cells: as told, else as in this model's own; proteins are no duty of a query."""
        asked = {k: v for k in SLOTS if (v := given.get(k)) is not None and not (isinstance(v, (list, tuple)) and not v)}
        usual = ["gene_key", "categorical_covariate_keys", "continuous_covariate_keys"]
        if self._slots.protein_key in data.obsm:
            usual += ["protein_key", "protein_names_key"]
        if not ("layer" in asked or asked.get("use_raw")):
            usual += ["layer", "use_raw"]
        if not ("batch_key" in asked or "batch_name" in asked):
            usual += ["batch_key", "batch_name"]
        return Slots.of({k: getattr(self._slots, k) for k in usual} | asked)

    def _cells(self, data: AnnData, slots: Slots) -> _native.Cells:
        # Genes of another species become the model's only inside.
        genes = [*self._native.genes, *self.provenance.get("query_orthologs", ())]
        more = list(self.provenance.get("condition_columns", ()))
        more += [name for name, _ in self._native.covariates] + self._native.continuous
        loose = slots.orthologs or slots.gene_names or any(
            (self.provenance.get(key) or {}).get("gene_names") for key in ("taken", "query_taken")
        )
        return cells(data, slots, lambda of: None if loose else among(of, genes), more)

    def _adata(self, adata: Any) -> AnnData:
        if adata is None and self.adata is None:
            raise ScgraftError("the model has no cells in this session; give adata=")
        return opened(self.adata if adata is None else adata)

    def _rows(self, adata: Any, indices: Rows) -> pd.Index:
        index = self._adata(adata).obs_names
        return index if indices is None else index[_rows_of(indices, len(index))]

    def _ready(self, adata: Any, indices: Rows = None, where: dict[str, Any] | None = None) -> _native.Prepared:
        if adata is None and not where and self._prepared is not None:
            prepared = self._prepared
        else:
            data = self._adata(adata)
            for name in where or ():
                if name not in SLOTS:
                    raise ScgraftError(f"there is no argument {name!r}; there are: {nearest(name, SLOTS)}")
            slots = self._slots_of(data, where or {})
            missing = any(k not in data.obs.columns for k in slots.batch_key)
            if missing and slots.batch_name is None and (where or {}).get("batch_key") is None:
                slots.batch_key = []
            with in_words(data, slots):
                options = as_json(slots.options(data))
                prepared = _native.prepare(self._native, self._cells(data, slots), options, session.threads)
        if indices is None:
            return prepared
        return prepared.select(_rows_of(indices, prepared.n_cells).tolist())

    def __reduce__(self) -> tuple[Any, ...]:
        # What it knows of itself; its cells stay where they are.
        more = {"report": self.report, "adaptor": self.adaptor, "imported": self.imported,
                "_slots": replace(self._slots, client=None)}  # fmt: skip
        return (_model, (self._native.to_bytes(), more))

    def __copy__(self) -> Model:
        out = Model(self._native)
        out.__dict__.update(self.__dict__)
        return out

    def _what(self) -> str:
        n = self._native.n_programs
        return f"{n} programs" if n else f"{self.n_latent} latent dimensions"

    def __repr__(self) -> str:
        shown = self.conditions[:6] + (["…"] if len(self.conditions) > 6 else [])
        grafts = f", grafts {', '.join(self.grafts)}" if self.grafts else ""
        return (
            f"Model({self.name}: {len(self._native.genes)} genes, {self._what()}, conditions {', '.join(shown)}{grafts})"
        )

    def _repr_html_(self) -> str:
        return shown(self)


def _library(size: float | str) -> float | None:
    """What a cell's genes sum to; ``None`` for its own."""
    if isinstance(size, str) and size == "latent":
        return None
    if isinstance(size, (str, bool)) or not (np.isfinite(size) and size > 0):
        raise ScgraftError(f"library_size={size!r}: expected a number above 0, or 'latent' for each cell's own")
    return float(size)


def _rows_of(indices: Rows, n: int) -> np.ndarray:
    rows = np.asarray(indices)
    if rows.dtype == bool and rows.shape == (n,):
        rows = np.flatnonzero(rows)
    if rows.size and (rows.dtype.kind not in "iu" or rows.ndim != 1):
        found = f"{rows.dtype} of shape {rows.shape}"
        raise ScgraftError(f"indices: expected the numbers of rows, or a mask of {n} cells, found {found}")
    wrong = (rows < -n) | (rows >= n)
    if wrong.any():
        raise ScgraftError(f"indices: expected rows of {n} cells, found {rows[wrong][0]}")
    return (rows % n).astype(np.int64) if n else rows.astype(np.int64)
