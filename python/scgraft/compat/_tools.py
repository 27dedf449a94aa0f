"""SCVI, SCANVI and TOTALVI, as scvi-tools speaks of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
import pandas as pd

from .._adata import is_mudata, listed, need, of_mudata
from .._native import ScgraftError
from .._settings import whole
from ._base import SETUP, Base
from ._words import NotHere

if TYPE_CHECKING:
    from anndata import AnnData

Kind: TypeAlias = Literal["denoised", "total", "foreground"]


class SCVI(Base):
    """scVI, as scvi-tools speaks of it.

    Examples
    --------
    >>> import scgraft as sg
    >>> from scgraft.compat.scvi import SCVI
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> SCVI.setup_anndata(sim.reference, batch_key="batch")
    >>> model = SCVI(sim.reference, n_latent=10)
    >>> model.train(max_epochs=1)
    >>> sim.reference.obsm["X_scVI"] = model.get_latent_representation()
    >>> query = SCVI.load_query_data(sim.query, model)
    >>> query.train(max_epochs=1, plan_kwargs={"weight_decay": 0.0})
    >>> query.get_latent_representation().shape
    (100, 10)
    """

    _takes = "scvi"


class LinearSCVI(SCVI):
    """scVI with a linear decoder."""

    _name, _takes = "scvi-linear", ""

    def get_loadings(self) -> pd.DataFrame:
        """Weights of the latent dimensions on genes, genes × dimensions."""
        tensors = self.model.parameters()
        n, genes = self.model.n_latent, self.model.var_names
        for values in tensors.values():
            if values.shape == (n, len(genes)):
                return pd.DataFrame(values.T, index=genes, columns=[f"Z_{i}" for i in range(n)])
        raise NotHere("get_loadings: this model keeps no linear weights; model.parameters() has the tensors")


class SCANVI(Base):
    """scANVI, as scvi-tools speaks of it.

    Examples
    --------
    >>> import scgraft as sg
    >>> from scgraft.compat.scvi import SCANVI, SCVI
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> SCVI.setup_anndata(sim.reference, batch_key="batch", labels_key="cell_type")
    >>> scvi = SCVI(sim.reference)
    >>> scvi.train(max_epochs=1)
    >>> model = SCANVI.from_scvi_model(scvi, unlabeled_category="Unknown")
    >>> model.train(max_epochs=2)
    >>> len(model.predict())
    300
    """

    _name = "scanvi"

    @classmethod
    def setup_anndata(  # type: ignore[override]
        cls, adata: AnnData, labels_key: str | None = None, unlabeled_category: str = "Unknown",
        layer: str | None = None, batch_key: str | None = None, **more: Any,
    ) -> None:  # fmt: skip
        """As for SCVI, with the column of labels and its value for cells without."""
        if labels_key is None:
            raise ScgraftError("SCANVI.setup_anndata: give labels_key=, a column of obs")
        super().setup_anndata(
            adata, layer=layer, batch_key=batch_key, labels_key=labels_key, unlabeled_category=unlabeled_category, **more
        )

    @classmethod
    def from_scvi_model(
        cls,
        scvi_model: SCVI,
        unlabeled_category: str = "Unknown",
        labels_key: str | None = None,
        adata: AnnData | None = None,
        **settings: Any,
    ) -> SCANVI:
        """A scANVI that starts from a trained scVI."""
        adata = scvi_model.adata if adata is None else adata
        if adata is None:
            raise ScgraftError("from_scvi_model: the model has no cells in this session; give adata=")
        setup = dict(adata.uns.get(SETUP, {}))
        labels_key = labels_key or setup.get("labels_key")
        if labels_key is None:
            raise ScgraftError("from_scvi_model: give labels_key=, a column of obs")
        need("obs has no such column", adata.obs, labels_key=labels_key)
        adata.uns[SETUP] = {**setup, "labels_key": labels_key, "unlabeled_category": unlabeled_category}
        out = cls(adata, **settings)
        out._start = scvi_model.model
        return out

    def _has_label(self) -> np.ndarray:
        """Which cells have a label."""
        setup = dict(self.adata.uns[SETUP])
        key = setup.get("labels_key")
        if key not in self.adata.obs.columns:
            return np.zeros(self.adata.n_obs, dtype=bool)
        labels = self.adata.obs[key].astype(object)
        return np.asarray(labels.notna() & (labels != setup.get("unlabeled_category")))

    @property
    def _labeled_indices(self) -> np.ndarray:
        return np.flatnonzero(self._has_label() & ~self._unlabelled)

    @_labeled_indices.setter
    def _labeled_indices(self, rows: Any) -> None:
        if len(rows) and not np.array_equal(np.sort(np.asarray(rows)), np.flatnonzero(self._has_label())):
            raise NotHere("_labeled_indices: which cells have labels is said in the column of labels; give the others "
                          "unlabeled_category there")
        self._unlabelled = len(rows) == 0

    @property
    def _unlabeled_indices(self) -> np.ndarray:
        return np.setdiff1d(np.arange(self.adata.n_obs), self._labeled_indices)

    @_unlabeled_indices.setter
    def _unlabeled_indices(self, rows: Any) -> None:
        self._unlabelled = len(rows) == self.adata.n_obs

    _unlabelled = False

    def _labels(self, adata: AnnData) -> dict[str, Any]:
        setup = adata.uns[SETUP]
        if self._unlabelled or setup.get("labels_key") not in adata.obs.columns:
            return {}
        return {"labels_key": setup["labels_key"], "unlabeled_category": setup.get("unlabeled_category")}

    def predict(
        self, adata: AnnData | None = None, indices: Sequence[int] | None = None, soft: bool = False, **_: Any
    ) -> np.ndarray | pd.DataFrame:
        """The most probable label of each cell; with ``soft`` the probability of every label, cells × labels."""
        found = self.model.predict(indices=indices, soft=soft, **self._with(adata))
        return found if soft else found.astype(str).to_numpy()


class TOTALVI(Base):
    """totalVI, as scvi-tools speaks of it."""

    _name = "totalvi"

    @classmethod
    def setup_anndata(  # type: ignore[override]
        cls,
        adata: AnnData,
        protein_expression_obsm_key: str,
        protein_names_uns_key: str | None = None,
        batch_key: str | None = None,
        layer: str | None = None,
        **more: Any,
    ) -> None:
        """As for SCVI, with the entry of ``obsm`` that has protein counts, and of ``uns`` with their names."""
        super().setup_anndata(adata, layer=layer, batch_key=batch_key, **more)
        need("obsm has no such entry", adata.obsm, protein_expression_obsm_key=protein_expression_obsm_key)
        adata.uns[SETUP]["protein_key"] = protein_expression_obsm_key
        if protein_names_uns_key is not None:
            adata.uns[SETUP]["protein_names_key"] = protein_names_uns_key

    @classmethod
    def setup_mudata(
        cls,
        mdata: Any,
        rna_layer: str | None = None,
        protein_layer: str | None = None,
        batch_key: str | None = None,
        modalities: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        """Say where counts, proteins and batches of a MuData stand.

        Parameters
        ----------
        mdata
            A MuData; the class takes it as its cells then.
        rna_layer, protein_layer
            Layers of the two modalities; ``X`` unless told.
        batch_key
            And, in ``more``, ``categorical_covariate_keys``, ``continuous_covariate_keys``: columns of ``obs`` of the modality
            that ``modalities`` names for them, else of the MuData or its RNA.
        modalities
            Which modality has ``"rna_layer"``, ``"protein_layer"``, ``"batch_key"``, …
        """
        if not is_mudata(mdata):
            raise ScgraftError(f"mdata: expected a MuData, found {type(mdata).__name__}; setup_anndata takes an AnnData")
        named = dict(modalities or {})
        for key in [named.get("rna_layer"), named.get("protein_layer")]:
            need("there is no such modality", mdata.mod, modalities=key)
        adata = of_mudata(mdata, named.get("rna_layer"), named.get("protein_layer"), protein_layer)
        columns = {"batch_key": batch_key, **more}
        for argument in ("batch_key", "categorical_covariate_keys", "continuous_covariate_keys"):
            where = named.get(argument)
            for key in listed(columns.get(argument)) if where else ():
                if key in mdata.mod[where].obs.columns:
                    adata.obs[key] = mdata.mod[where].obs[key].reindex(adata.obs_names).to_numpy()
        cls.setup_anndata(adata, "protein_expression", layer=rna_layer, **columns)
        mdata.uns[SETUP] = {**adata.uns[SETUP], "modalities": named, "protein_layer": protein_layer or ""}

    def _where(self, adata: AnnData) -> dict[str, Any]:
        setup = adata.uns.get(SETUP, {})
        more = {k: setup[k] for k in ("protein_key", "protein_names_key") if k in setup}
        if more.get("protein_key") not in adata.obsm:
            more = {}
        return {**super()._where(adata), **more}

    _arguments: ClassVar = {
        "n_latent": ("latent", int),
        "gene_likelihood": ("likelihood", str),
        "dropout_rate_encoder": ("dropout", float),
        "dropout_rate_decoder": ("dropout", float),
        "gene_dispersion": ("dispersion_by_condition", lambda d: d == "gene-batch"),
        "protein_dispersion": ("protein_dispersion_by_condition", lambda d: d == "protein-batch"),
        "empirical_protein_background_prior": ("empirical_prior", lambda prior: prior),
        "use_observed_lib_size": Base._arguments["use_observed_lib_size"],
    }

    def _layers(self, given: dict[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        hidden = given.pop("n_hidden", None)
        for name, key, usual in (("n_layers_encoder", "hidden", 2), ("n_layers_decoder", "decoder_hidden", 1)):
            layers = given.pop(name, None)
            if hidden is not None or layers is not None:
                out[key] = [whole("n_hidden", hidden or 256, 1)] * whole("n_layers", layers or usual, 1)
        norms = [norm for norm in ("batch", "layer") if given.pop(f"use_{norm}_norm", "none") == "both"]
        if norms:
            out["norm"] = norms[-1]
        return out

    def get_normalized_expression(  # type: ignore[override]
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        transform_batch: Any = None,
        gene_list: Sequence[str] | None = None,
        protein_list: Sequence[str] | None = None,
        library_size: float | str = 1,
        n_samples: int = 1,
        include_protein_background: bool = False,
        **more: Any,
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Denoised genes and proteins, two tables."""
        rna = super().get_normalized_expression(
            adata, indices, transform_batch, gene_list, library_size, n_samples, **more
        )
        kind: Kind = "total" if include_protein_background else "denoised"
        return rna, self._proteins(adata, indices, transform_batch, protein_list, kind)

    def differential_expression(self, *args: Any, **more: Any) -> pd.DataFrame:
        """Genes that differ between groups of cells; proteins are not among the rows."""
        advice = "differential_expression: the rows are genes; compare proteins by get_normalized_expression()[1] of the groups"
        warnings.warn(advice, UserWarning, stacklevel=2)
        return super().differential_expression(*args, **more)

    def get_protein_foreground_probability(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        transform_batch: Any = None,
        protein_list: Sequence[str] | None = None,
        **_: Any,
    ) -> pd.DataFrame:
        """The probability that a protein's count is no background, cells × proteins."""
        return self._proteins(adata, indices, transform_batch, protein_list, "foreground")

    def _proteins(self, adata: Any, indices: Any, transform_batch: Any, wanted: Any, kind: Kind) -> pd.DataFrame:
        table = self.model.get_proteins(indices=indices, transform_batch=transform_batch, kind=kind, **self._with(adata))
        return table if wanted is None else table[list(wanted)]
