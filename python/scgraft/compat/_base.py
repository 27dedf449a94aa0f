"""What the classes of scvi-tools and scArches have in common."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

import numpy as np
import pandas as pd
from scipy import sparse

from .._adaptor import Adaptor
from .._adata import is_anndata, is_mudata, layers, listed, need, of_mudata
from .._load import import_model, load
from .._model import Model
from .._native import ScgraftError
from .._plan import as_json
from .._settings import number, whole
from .._settings import settings as session
from .._train import train
from ._differential import counted, grouped, their_columns
from ._words import IGNORED, Named, NotHere, no_argument, not_here, only_given

if TYPE_CHECKING:
    from anndata import AnnData

SETUP = "_scgraft_setup"
"""Entry of ``uns`` with what ``setup_anndata`` was told."""
FILE = "model.scgraft"
"""The model's file in a saved folder."""


def set_up(adata: AnnData, **given: Any) -> None:
    adata.uns[SETUP] = {k: v for k, v in only_given(**given).items() if v != []}


def cells_of(adata: Any) -> AnnData | None:
    """Cells as an AnnData: of a MuData its RNA with its proteins, as ``setup_mudata`` was told."""
    if not (adata is None or is_mudata(adata) or is_anndata(adata)):
        raise ScgraftError(f"adata: expected an AnnData or a MuData, found {type(adata).__name__}")
    if not is_mudata(adata):
        return adata
    setup = dict(adata.uns.get(SETUP, {}))
    named = dict(setup.pop("modalities", {}))
    out = of_mudata(adata, named.get("rna_layer"), named.get("protein_layer"), setup.pop("protein_layer", None) or None)
    batch = setup.get("batch_key")
    if isinstance(batch, str) and named.get("batch_key") and batch in adata.mod[named["batch_key"]].obs.columns:
        out.obs[batch] = adata.mod[named["batch_key"]].obs[batch].reindex(out.obs_names).to_numpy()
    if setup:
        out.uns[SETUP] = setup
    return out


class Base(metaclass=Named):
    """What all of them share."""

    _name = "scvi"
    _takes = ""
    """How names of other models begin that are read, too."""

    def __init__(self, adata: AnnData | None = None, **settings: Any):
        self.adata: Any = cells_of(adata)
        self._model: Model | None = None
        self._query: dict[str, Any] = {}
        self._saved: dict[str, Any] = {}
        self._start: Model | None = None
        self._settings = self._translated(dict(settings))
        if self.adata is not None:
            self._told(self.adata)

    # Setting up.

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        layer: str | None = None,
        batch_key: str | None = None,
        labels_key: str | None = None,
        size_factor_key: str | None = None,
        categorical_covariate_keys: Sequence[str] | None = None,
        continuous_covariate_keys: Sequence[str] | None = None,
        **more: Any,
    ) -> None:
        """Say where counts, batches, labels and covariates stand.

        Parameters
        ----------
        layer, batch_key, labels_key, categorical_covariate_keys, continuous_covariate_keys
            A layer, columns of ``obs``.
        size_factor_key
            Not here: library sizes are the sums of the counts.
        """
        if size_factor_key is not None:
            raise NotHere("size_factor_key is not here: library sizes are the sums of the counts, or learned with "
                          "use_observed_lib_size=False")
        need("obs has no such column", adata.obs, batch_key=batch_key, labels_key=labels_key)
        covariates = {"categorical_covariate_keys": listed(categorical_covariate_keys),
                      "continuous_covariate_keys": listed(continuous_covariate_keys)}  # fmt: skip
        for argument, keys in covariates.items():
            for key in keys:
                need("obs has no such column", adata.obs, **{argument: key})
        need("adata has no such layer", layers(adata), layer=layer)
        unlabeled = more.pop("unlabeled_category", None)
        no_argument("setup_anndata", more, IGNORED)
        set_up(adata, layer=layer, batch_key=batch_key, labels_key=labels_key, unlabeled_category=unlabeled, **covariates)

    def _told(self, adata: AnnData) -> dict[str, Any]:
        """What ``setup_anndata`` was told of these cells."""
        if SETUP not in adata.uns:
            raise ScgraftError(f"{type(self).__name__}.setup_anndata(adata, ...) has to be called first")
        return dict(adata.uns[SETUP])

    def _where(self, adata: AnnData) -> dict[str, Any]:
        setup = self._told(adata)
        batch = setup.get("batch_key")
        more = {key: listed(setup.get(key)) for key in ("categorical_covariate_keys", "continuous_covariate_keys")}
        given = {"batch_name": "batch"} if batch is None else {"batch_key": listed(batch)}
        return {"layer": setup.get("layer"), **given, **more}

    def _labels(self, adata: AnnData) -> dict[str, Any]:
        return {}

    _arguments: ClassVar[dict[str, tuple[str, Callable[[Any], Any]]]] = {
        "n_latent": ("latent", int),
        "dropout_rate": ("dropout", float),
        "gene_likelihood": ("likelihood", str),
        "dispersion": ("dispersion", lambda d: {"gene-batch": "gene-condition"}.get(d, d)),
        "latent_distribution": ("latent_distribution", lambda d: {"ln": "logistic-normal"}.get(d, d)),
        "use_observed_lib_size": ("library", lambda observed: "observed" if observed else "learned"),
        "encode_covariates": ("encode_covariates", bool),
        "deeply_inject_covariates": ("deep_covariates", bool),
        "log_variational": ("log_input", bool),
    }
    """Arguments of the constructor, with the setting of the model that each is, and its values there."""

    def _translated(self, given: dict[str, Any]) -> dict[str, Any]:
        """Arguments of the constructor as settings of the model; what is none of theirs is a setting of ours."""
        for name in ("extra_encoder_kwargs", "extra_decoder_kwargs", "use_size_factor_key"):
            given.pop(name, None)
        out = self._layers(given)
        for name, (setting, value) in self._arguments.items():
            if name in given:
                told = given.pop(name)
                out[setting] = whole(name, told) if value is int else number(name, told) if value is float else value(told)
        return out | given

    def _layers(self, given: dict[str, Any]) -> dict[str, Any]:
        """Hidden layers and their norms, of the arguments that say them, which are taken out."""
        out: dict[str, Any] = {}
        hidden, layers = given.pop("n_hidden", None), given.pop("n_layers", None)
        if hidden is not None or layers is not None:
            usual = 1 if self._name == "scvi-linear" else 2
            out["hidden"] = [whole("n_hidden", hidden or 128, 1)] * whole("n_layers", layers or usual, 1)
        norms = {norm: given.pop(f"use_{norm}_norm") for norm in ("layer", "batch") if f"use_{norm}_norm" in given}
        for side in ("encoder", "decoder"):
            named = [norm for norm, where in norms.items() if where in ("both", side)]
            if named or "layer" in norms:
                out[f"{side}_norm"] = named[-1] if named else "none"
        return out

    # Training.

    def train(
        self,
        max_epochs: int | None = None,
        *,
        train_size: float | None = None,
        validation_size: float | None = None,
        batch_size: int = 128,
        early_stopping: bool | None = None,
        plan_kwargs: dict[str, Any] | None = None,
        early_stopping_patience: int | None = None,
        lr: float | None = None,
        n_samples_per_label: int | None = None,
        **more: Any,
    ) -> None:
        """Fit the model, or graft the query on.

        Parameters
        ----------
        max_epochs
            Passes over the cells; as many as it takes unless told.
        train_size, batch_size, early_stopping, early_stopping_patience, lr
            As in scvi-tools.
        plan_kwargs
            ``lr``, ``weight_decay``, ``n_epochs_kl_warmup``, ``n_steps_kl_warmup`` are taken.
        """
        plan = dict(plan_kwargs or {})
        if train_size is None and validation_size is not None:
            train_size = 1.0 - validation_size
        epochs, steps = plan.pop("n_epochs_kl_warmup", None), plan.pop("n_steps_kl_warmup", None)
        fit = only_given(
            max_epochs=max_epochs,
            batch_size=batch_size,
            early_stopping=early_stopping,
            lr=plan.pop("lr", lr),
            weight_decay=plan.pop("weight_decay", None),
            kl_anneal=epochs,
            kl_anneal_steps=steps if epochs is None else None,
            samples_per_label=n_samples_per_label,
            patience=None if early_stopping is False else early_stopping_patience,
            train_size=None if train_size == 1.0 else train_size,
        )
        for name in ("adversarial_classifier", "scale_adversarial_loss"):
            if plan.pop(name, 0) not in (0, False, None, "auto"):
                raise NotHere(f"plan_kwargs[{name!r}] is not here: no classifier of batches trains against the encoder; "
                              "leave it out")
        for name in plan:
            if name not in ("reduce_lr_on_plateau", "lr_scheduler_metric", "optimizer", "compile"):
                raise NotHere(f"plan_kwargs[{name!r}] is not here; settings of the fit are those of scgraft.train")
        no_argument("train", (name for name in more if not name.startswith("early_stopping")), IGNORED)
        self._fit(fit)

    def _fit(self, fit: dict[str, Any]) -> None:
        """Fits the model, or grafts the query on."""
        if self.adata is None:
            raise ScgraftError("this model has no cells; give it some: the constructor's adata, or load(..., adata=)")
        self._map(fit) if self._query else self._train(fit)

    def _train(self, fit: dict[str, Any]) -> None:
        told = self._how() | self._where(self.adata) | self._labels(self.adata) | fit | self._settings
        self._model = train(self.adata, model=self._name, n_top_genes=None, start=self._start, **told)

    def _how(self) -> dict[str, Any]:
        """What else :func:`scgraft.train` is told."""
        return {}

    def _map(self, fit: dict[str, Any]) -> None:
        told = self._query["more"] | self._where(self.adata) | self._labels(self.adata) | fit
        self._model = self._query["model"].map(
            self.adata, name=self._query["name"], surgery=self._query["surgery"], **told
        )

    # What it is.

    @property
    def model(self) -> Model:
        """The model of scgraft."""
        if self._model is not None:
            return self._model
        raise ScgraftError("the model is not trained yet; call train()")

    @property
    def is_trained(self) -> bool:
        """Whether it was trained."""
        return self._model is not None

    is_trained_ = is_trained

    @property
    def history(self) -> dict[str, pd.DataFrame]:
        """The fit, epoch by epoch: a table of one column by name."""
        table, out = self.model.history, {}
        for side in ("train", "validation"):
            columns = [c for c in table if c.startswith(f"{side}_") and c != "validation_loss"]
            if columns:
                out[f"elbo_{side}"] = pd.DataFrame({f"elbo_{side}": table[columns].sum(axis=1)})
            for c in columns:
                term = c.split("_", 1)[1]
                key = ("reconstruction_loss_" if term.startswith("reconstruction") else f"{term}_") + side
                out[key] = pd.DataFrame({key: table[c]})
        if "elbo_train" in out:
            out["train_loss_epoch"] = out["elbo_train"].rename(columns={"elbo_train": "train_loss_epoch"})
        return out

    history_ = history

    @property
    def registry(self) -> dict[str, Any]:
        """What ``setup_anndata`` was told."""
        return {"setup_args": dict(self.adata.uns[SETUP]), "model_name": type(self).__name__}

    def view_anndata_setup(self, *_: Any, **__: Any) -> None:
        """Print what ``setup_anndata`` was told."""
        for name, value in self.registry["setup_args"].items():
            print(f"{name}: {value if isinstance(value, str) else ', '.join(map(str, value))}")

    @property
    def summary_stats(self) -> dict[str, int]:
        """How many cells, genes, batches and labels."""
        native = self.model._native
        return {"n_cells": self.adata.n_obs, "n_vars": len(native.genes), "n_batch": len(native.conditions),
                "n_labels": len(native.labels)}  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        raise not_here(type(self).__name__, name, dir(self))

    def __repr__(self) -> str:
        what = repr(self._model) if self._model is not None else "not trained"
        return f"{type(self).__name__} of scgraft: {what}"

    # What it says of cells.

    def _with(self, adata: AnnData | None) -> dict[str, Any]:
        data = self.adata if adata is None else cells_of(adata)
        if data is None:
            raise ScgraftError("give adata=: the model has no cells in this session")
        return {"adata": data, **self._where(self._like(data))}

    def _like(self, adata: AnnData) -> AnnData:
        """Cells with a setup: their own, or that of the model's."""
        if SETUP not in adata.uns and self.adata is not None and SETUP in self.adata.uns:
            adata.uns[SETUP] = dict(self.adata.uns[SETUP])
        return adata

    @overload
    def get_latent_representation(self, adata: AnnData | None = ..., indices: Sequence[int] | None = ..., give_mean: bool = ...,
                                  *, return_dist: Literal[False] = ..., **_: Any) -> np.ndarray: ...  # fmt: skip
    @overload
    def get_latent_representation(self, adata: AnnData | None = ..., *, return_dist: bool,
                                  **_: Any) -> tuple[np.ndarray, np.ndarray]: ...  # fmt: skip
    def get_latent_representation(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        give_mean: bool = True,
        mc_samples: int = 5000,
        batch_size: int | None = None,
        return_dist: bool = False,
        **_: Any,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Posterior means, cells × dimensions; with ``return_dist`` means and variances; without ``give_mean`` a draw."""
        mean, variance = self.model.get_latent_representation(indices=indices, return_dist=True, **self._with(adata))
        if return_dist:
            return mean, variance
        if give_mean:
            return mean
        noise = np.random.default_rng(session.seed).standard_normal(mean.shape, dtype=np.float32)
        drawn: np.ndarray = mean + np.sqrt(variance) * noise
        return drawn

    def get_normalized_expression(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        transform_batch: Any = None,
        gene_list: Sequence[str] | None = None,
        library_size: float | str = 1,
        n_samples: int = 1,
        return_mean: bool = True,
        return_numpy: bool = False,
        seed: int = 0,
        **_: Any,
    ) -> pd.DataFrame | np.ndarray:
        """Normalised expression, cells × genes; of several draws their mean."""
        if not return_mean and n_samples > 1:
            raise NotHere("return_mean=False is not here: draw one by one with seed=")
        return self.model.get_normalized_expression(
            indices=indices, transform_batch=transform_batch, gene_list=gene_list, seed=seed, return_numpy=return_numpy,
            library_size="latent" if library_size == "latent" else float(library_size),
            n_samples=0 if n_samples <= 1 else int(n_samples), **self._with(adata),
        )  # fmt: skip

    def posterior_predictive_sample(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        n_samples: int = 1,
        gene_list: Sequence[str] | None = None,
        seed: int = 0,
        **_: Any,
    ) -> np.ndarray:
        """Counts drawn from what the model expects: cells × genes, or × draws where there are several."""
        for gene in listed(gene_list):
            need("the model has no such gene", self.model.var_names, gene_list=gene)
        at = slice(None) if gene_list is None else self.model.var_names.get_indexer(listed(gene_list))
        draws = []
        for i in range(n_samples):
            drawn = self.model.posterior_predictive_sample(indices=indices, seed=seed + i, **self._with(adata))
            draws.append(drawn[:, at].toarray())
        return draws[0] if n_samples == 1 else np.stack(draws, axis=-1)

    def get_elbo(self, adata: AnnData | None = None, indices: Sequence[int] | None = None, **_: Any) -> float:
        """The evidence lower bound per cell, in nats."""
        return float(self.model.get_likelihood(indices=indices, **self._with(adata))["elbo"].mean())

    def get_reconstruction_error(
        self, adata: AnnData | None = None, indices: Sequence[int] | None = None, **_: Any
    ) -> dict[str, float]:
        """−E[ln p(x | z)] per cell, in nats."""
        found = self.model.get_likelihood(indices=indices, **self._with(adata))["reconstruction_error"]
        return {"reconstruction_loss": float(found.mean())}

    def get_marginal_ll(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        n_mc_samples: int = 1000,
        return_mean: bool = True,
        **_: Any,
    ) -> float | np.ndarray:
        """ln p(x) by importance sampling, per cell."""
        table = self.model.get_likelihood(indices=indices, n_marginal_samples=n_mc_samples, **self._with(adata))
        values = table["marginal_log_likelihood"].to_numpy()
        return float(values.mean()) if return_mean else values

    def differential_expression(
        self,
        adata: AnnData | None = None,
        groupby: str | None = None,
        group1: Iterable[str] | str | None = None,
        group2: str | None = None,
        idx1: Any = None,
        idx2: Any = None,
        mode: Literal["vanilla", "change"] = "vanilla",
        delta: float = 0.25,
        all_stats: bool = True,
        batch_correction: bool = False,
        fdr_target: float = 0.05,
        pseudocounts: float | None = None,
        n_samples_overall: int | None = None,
        seed: int = 0,
        **_: Any,
    ) -> pd.DataFrame:
        """Genes that differ between groups of cells, with the columns of scvi-tools."""
        where = self._with(adata)
        data = where.pop("adata")
        if idx1 is not None:
            groupby, group1, group2 = "_scgraft_groups", "group1", "group2"
            data = grouped(data, groupby, idx1, idx2)
        elif groupby is None:
            raise ScgraftError("differential_expression: give groupby=, or idx1= and idx2=")
        found = self.model.differential_expression(
            data, groupby=groupby, group1=listed(group1), group2=group2, mode=mode, delta=delta, fdr=fdr_target,
            pseudocount=pseudocounts, n_samples=n_samples_overall or 5000, seed=seed,
            transform_batch="all" if batch_correction else None, **where,
        )  # fmt: skip
        if not all_stats:
            return their_columns(found, mode, delta, fdr_target, lambda *_: {})
        return their_columns(found, mode, delta, fdr_target, partial(counted, data, where["layer"], groupby))

    # Files.

    def save(
        self, dir_path: str | Path, prefix: str | None = None, overwrite: bool = False, save_anndata: bool = False, **_: Any
    ) -> None:
        """Write the model into a folder: ``model.scgraft``, and ``adata.h5ad`` where asked for."""
        folder = Path(dir_path)
        if folder.exists() and any(folder.iterdir()) and not overwrite:
            raise ScgraftError(f"{folder} exists and is not empty; give overwrite=True to replace what is in it")
        folder.mkdir(parents=True, exist_ok=True)
        prefix = prefix or ""
        self.model.save(folder / f"{prefix}{FILE}", overwrite=True)
        about = {"class": type(self).__name__, "setup": {} if self.adata is None else dict(self.adata.uns.get(SETUP, {}))}
        (folder / f"{prefix}setup.json").write_text(as_json(about), encoding="utf-8")
        if save_anndata and self.adata is not None:
            self.adata.write_h5ad(folder / f"{prefix}adata.h5ad")

    @classmethod
    def load(cls, dir_path: str | Path, adata: AnnData | None = None, prefix: str | None = None, **_: Any) -> Self:
        """Read a model of a folder: one of scgraft, or one that scvi-tools or scArches saved."""
        folder, prefix = Path(dir_path), prefix or ""
        if not folder.exists():
            raise FileNotFoundError(f"{folder}: there is no such folder")
        model = model_of(folder, prefix)
        setup = _usual(model) if model.imported else {}
        about, saved = folder / f"{prefix}setup.json", folder / f"{prefix}adata.h5ad"
        if not model.imported and about.exists():
            setup = json.loads(about.read_text(encoding="utf-8")).get("setup", {})
        if not model.imported and adata is None and saved.exists():
            import anndata

            adata = anndata.read_h5ad(saved)
        if model.name != cls._name and not (cls._takes and model.name.startswith(cls._takes)):
            raise ScgraftError(f"{folder} holds a model {model.name!r}; {cls.__name__} reads {cls._name!r}")
        out = cls.__new__(cls)
        Base.__init__(out)
        if adata is not None and SETUP not in adata.uns:
            adata.uns[SETUP] = setup
        out.adata, out._model, out._saved = adata, model, setup
        if adata is not None:
            model.adata = adata
        return out

    # Queries.

    @staticmethod
    def prepare_query_anndata(
        adata: AnnData, reference_model: Any, return_reference_var_names: bool = False, inplace: bool = True, **_: Any
    ) -> AnnData | pd.Index | None:
        """Bring a query's genes into the order of the model's, genes that it lacks as zeros.

        Mapping aligns genes by itself; this is for what comes before it.
        """
        model = model_of(reference_model)
        names = model.var_names
        if not is_anndata(adata):
            raise ScgraftError(f"adata: expected an AnnData, found {type(adata).__name__}")
        if return_reference_var_names:
            return names
        at = adata.var_names.get_indexer(names)
        share = float((at >= 0).mean())
        if share == 0:
            raise ScgraftError("the query has none of the model's genes; give genes the model's kind of names")
        if share < 0.8:
            warnings.warn(f"the query has {share:.0%} of the model's genes", UserWarning, stacklevel=2)
        import anndata

        def aligned(x: Any) -> sparse.csr_matrix:
            x = sparse.csc_matrix(x)
            missing = sparse.csc_matrix((x.shape[0], 1), dtype=x.dtype)
            wide = sparse.hstack([x, missing], format="csc")
            return sparse.csr_matrix(wide[:, np.where(at < 0, x.shape[1], at)])

        out = anndata.AnnData(X=aligned(adata.X), obs=adata.obs.copy(), var=pd.DataFrame(index=names.astype(str)))
        for name, x in layers(adata).items():
            out.layers[name] = aligned(x)
        out.obsm.update(adata.obsm)
        out.uns.update(adata.uns)
        if not inplace:
            return out
        adata._init_as_actual(out)
        return None

    @classmethod
    def load_query_data(
        cls, adata: AnnData, reference_model: Any, inplace_subset_query_vars: bool = False, unfrozen: bool = False, **more: Any
    ) -> Self:
        """A model with the query's batches, to be trained on it.

        Parameters
        ----------
        adata
            The query; batches and labels stand in the columns where the reference's stood.
        reference_model
            A trained model, or the folder of one.
        inplace_subset_query_vars
            Bring the query's genes into the model's order, too; mapping needs it not.
        unfrozen
            Let every weight train.
        more
            ``freeze_*`` of scvi-tools: what is frozen here is all but the query's own weights.
        """
        if isinstance(reference_model, (str, Path)):
            reference_model = cls.load(reference_model)
        reference = model_of(reference_model)
        told = (name for name in more if not name.startswith("freeze_"))
        no_argument("load_query_data", told, IGNORED | {"prefix", "backup_url"})
        if more.get("freeze_expression") is False:
            unfrozen = True
        adata = cells_of(adata)
        if adata is None:
            raise ScgraftError("load_query_data: adata: expected an AnnData or a MuData, found None")
        if inplace_subset_query_vars:
            cls.prepare_query_anndata(adata, reference)
        out = cls.__new__(cls)
        Base.__init__(out)
        out._inherit(adata, reference_model)
        out._query = {"model": reference, "name": new_name(reference), "surgery": "all" if unfrozen else "adaptor",
                      "more": {}}  # fmt: skip
        return out

    def _inherit(self, adata: AnnData, reference_model: Any) -> None:
        """The query's setup: its own, or the reference's."""
        if SETUP not in adata.uns:
            theirs = getattr(getattr(reference_model, "adata", None), "uns", {})
            setup = theirs.get(SETUP) or getattr(reference_model, "_saved", None) or _usual(model_of(reference_model))
            adata.uns[SETUP] = dict(setup)
        batch = adata.uns[SETUP].get("batch_key")
        if isinstance(batch, str):
            need("obs has no such column", adata.obs, batch_key=batch)
        self.adata = adata

    @property
    def adaptor(self) -> Adaptor | None:
        """What the query added to the reference."""
        return self.model.adaptor


def _usual(model: Model) -> dict[str, Any]:
    """The setup of a model that has none: its conditions' column."""
    columns = [c for c in model.provenance.get("condition_columns", ()) if c]
    return {"batch_key": columns[0]} if columns else {}


def model_of(reference: Any, prefix: str = "") -> Model:
    """A model, that of one of these classes, or that of a folder."""
    if isinstance(reference, Model):
        return reference
    if isinstance(reference, (str, Path)):
        own = Path(reference) / f"{prefix}{FILE}"
        return load(own) if own.exists() else import_model(reference)
    if isinstance(reference, Base):
        return reference.model
    raise ScgraftError(f"reference_model: expected a trained model, found {type(reference).__name__}")


def new_name(reference: Model) -> str:
    n = len(reference.grafts)
    while f"query{n or ''}" in reference.grafts:
        n += 1
    return f"query{n or ''}"
