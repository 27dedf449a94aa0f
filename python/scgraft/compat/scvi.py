"""scvi-tools' and scArches' way of speaking: a notebook of theirs changes one import.

``import scgraft.compat.scvi as scvi`` stands for ``import scvi`` (``scvi.model.SCVI``, ``scvi.settings.seed``), ``import
scgraft.compat.scvi as sca`` for ``import scarches as sca`` (``sca.models.EXPIMAP``, ``sca.utils.add_annotations``,
``sca.plotting.plot_abs_bfs``); the classes can be imported by themselves, too.

``SCVI``, ``SCANVI``, ``TOTALVI``, ``LinearSCVI`` and ``EXPIMAP`` have the methods, shapes and columns of those packages; the
models are scgraft's. Arguments that choose a device or a way to run (``accelerator``, ``devices``, ``use_gpu``, ``mc_samples``,
…) are taken and change nothing. What is not there raises :class:`NotHere`, which names what to use instead.

Defaults of a model are those for reference mapping (two layers, layer norm, covariates in the encoder), so that
``load_query_data`` works; arguments change them as in scvi-tools.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pandas as pd
from scipy import sparse

from .._adata import is_anndata, is_mudata, layers, listed, matrix, nearest, need, of_mudata
from .._model import Adaptor, Model, import_model, load, train
from .._native import ScgraftError
from .._programs import gene_sets
from .._settings import settings as session
from .._settings import number, whole

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["EXPIMAP", "SCANVI", "SCVI", "TOTALVI", "TRVAE", "LinearSCVI", "NotHere", "add_annotations", "plot_abs_bfs",
           "scPoli"]  # fmt: skip

SETUP = "_scgraft_setup"
"""Entry of ``uns`` with what ``setup_anndata`` was told."""
FILE = "model.scgraft"
"""The model's file in a saved folder."""

IGNORED = frozenset(
    ["accelerator", "devices", "device", "use_gpu", "gpus", "check_val_every_n_epoch", "enable_progress_bar", "datamodule",
     "shuffle_set_split", "load_sparse_tensor", "precision", "strategy", "log_every_n_steps", "simple_progress_bar"]
)  # fmt: skip


class NotHere(ScgraftError, AttributeError):
    """Something of scvi-tools or scArches that is not here; the message names what to use instead."""


ADVICE = {
    "get_feature_correlation_matrix": "correlate the columns of get_normalized_expression(n_samples=...)",
    "get_latent_library_size": "library sizes are the sums of counts; train with use_observed_lib_size=False and "
    "get_normalized_expression(library_size='latent')",
    "get_likelihood_parameters": "get_normalized_expression(library_size='latent') gives the means; "
    "model.parameters() the dispersions",
    "minify_adata": "mapping needs no cells of the reference: share the model file alone",
    "to_device": "there is no device; threads are scgraft.settings.threads",
    "module": "the tensors are in model.parameters()",
    "deregister_manager": "nothing is registered",
    "get_anndata_manager": "setup_anndata writes adata.uns['_scgraft_setup']",
    "adata_manager": "setup_anndata writes adata.uns['_scgraft_setup']",
    "trainer": "history has the fit",
    "register_manager": "setup_anndata writes adata.uns['_scgraft_setup']",
    "differential_abundance": "scgraft.tl.enrich and scgraft.tl.annotate compare groups of cells",
    "get_aggregated_posterior": "get_latent_representation(return_dist=True) gives means and variances",
    "setup_mudata": "setup_anndata takes the AnnData of the counts; TOTALVI.setup_mudata takes a MuData",
    "convert_legacy_save": "load(folder) reads folders of every version of scvi-tools",
    "load_registry": "load(folder).registry, or scgraft.import_model(folder).provenance",
    "get_latent_from_posterior": "get_latent_representation(return_dist=True) gives means and variances",
    "get_y": "get_normalized_expression gives expression; the first decoder layer is not given out",
    "get_recon_loss": "get_reconstruction_error",
    "conditions_": "model.conditions",
    "condition_key_": "registry['setup_args']['batch_key']",
    "get_conditional_embeddings": "conditions have weights, not embeddings: model.parameters()",
    "classify": "scgraft.tl.annotate carries labels over, with a class for new types",
    "get_prototypes_info": "there are no prototypes; scgraft.tl.annotate(majority=clusters) names clusters",
    "add_new_cell_type": "a new type is Unknown in scgraft.tl.annotate; label it in obs and map again",
    "get_tests": "scgraft.tl.enrich",
    "data": "read files with anndata; scgraft.datasets.simulate() makes cells to try things on",
    "dataset": "read files with anndata; scgraft.datasets.simulate() makes cells to try things on",
    "hub": "scgraft.hub fetches and sends models, scgraft.load takes their addresses",
    "metrics": "scgraft.tl.evaluate",
    "autotune": "a loop over train and load_query_data, with scgraft.tl.evaluate at its end",
    "criticism": "posterior_predictive_sample",
    "MULTIVI": "there is no model of accessibility; scgraft.models() lists those that there are",
    "PEAKVI": "there is no model of accessibility; scgraft.models() lists those that there are",
    "TotalVI": "TOTALVI",
}


def _not_here(owner: str, name: str, there: Iterable[str]) -> NotHere:
    known = nearest(name, [n for n in there if not n.startswith("_")])
    return NotHere(f"{owner}.{name} is not here: {ADVICE.get(name) or f'there are: {known}'}")


def _setup(adata: AnnData, **given: Any) -> None:
    adata.uns[SETUP] = {k: v for k, v in _told(**given).items() if v != []}


def _cells(adata: Any) -> AnnData | None:
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


def _columns(adata: AnnData, **given: Any) -> None:
    need("obs has no such column", adata.obs, **given)


def _no_argument(where: str, given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            raise ScgraftError(f"{where}: there is no argument {name!r}")


class _Named(type):
    """Names what to use instead of a class method that is not here."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _not_here(cls.__name__, name, dir(cls))


class _Base(metaclass=_Named):
    """What all of them share."""

    _name = "scvi"
    _hidden_key = "n_hidden"

    def __init__(self, adata: AnnData | None = None, **settings: Any):
        adata = _cells(adata)
        self.adata = adata
        self._model: Model | None = None
        self._query: dict[str, Any] | None = None
        self._saved: dict[str, Any] = {}
        self._start: Model | None = None
        self._settings = self._translated(dict(settings))
        if adata is not None and SETUP not in adata.uns:
            raise ScgraftError(f"{type(self).__name__}.setup_anndata(adata, ...) has to be called first")

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
        _columns(adata, batch_key=batch_key, labels_key=labels_key)
        for key in listed(categorical_covariate_keys):
            _columns(adata, categorical_covariate_keys=key)
        for key in listed(continuous_covariate_keys):
            _columns(adata, continuous_covariate_keys=key)
        need("adata has no such layer", layers(adata), layer=layer)
        unlabeled = more.pop("unlabeled_category", None)
        _no_argument("setup_anndata", more, IGNORED)
        _setup(adata, layer=layer, batch_key=batch_key, labels_key=labels_key, unlabeled_category=unlabeled,
               categorical_covariate_keys=listed(categorical_covariate_keys),
               continuous_covariate_keys=listed(continuous_covariate_keys))  # fmt: skip

    def _where(self, adata: AnnData) -> dict[str, Any]:
        if SETUP not in adata.uns:
            raise ScgraftError(f"{type(self).__name__}.setup_anndata(adata, ...) has to be called first")
        setup = dict(adata.uns[SETUP])
        where: dict[str, Any] = {"layer": setup.get("layer")}
        batch = setup.get("batch_key")
        if batch is None:
            where["batch_name"] = "batch"
        else:
            where["batch_key"] = listed(batch)
        for key in ("categorical_covariate_keys", "continuous_covariate_keys"):
            where[key] = [str(v) for v in setup.get(key, ())]
        return where

    def _labels(self, adata: AnnData) -> dict[str, Any]:
        return {}

    _arguments = {
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
        fit = _told(
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
        _no_argument("train", (name for name in more if not name.startswith("early_stopping")), IGNORED)
        if self.adata is None:
            raise ScgraftError("this model has no cells; give it some: the constructor's adata, or load(..., adata=)")
        if self._query is not None:
            self._map(fit)
        else:
            self._train(fit)

    def _train(self, fit: dict[str, Any]) -> None:
        self._model = train(
            self.adata,
            model=self._name,
            n_top_genes=None,
            start=self._start,
            **self._how(),
            **self._where(self.adata),
            **self._labels(self.adata),
            **fit,
            **self._settings,
        )

    def _how(self) -> dict[str, Any]:
        """What else :func:`scgraft.train` is told."""
        return {}

    def _map(self, fit: dict[str, Any]) -> None:
        self._model = self._query["model"].map(
            self.adata,
            name=self._query["name"],
            surgery=self._query["surgery"],
            **self._query["more"],
            **self._where(self.adata),
            **self._labels(self.adata),
            **fit,
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
        table = self.model.history
        total = {"train": [c for c in table if c.startswith("train_")],
                 "validation": [c for c in table if c.startswith("validation_") and c != "validation_loss"]}  # fmt: skip
        out = {}
        for side, columns in total.items():
            if not columns:
                continue
            name = f"elbo_{side}"
            out[name] = pd.DataFrame({name: table[columns].sum(axis=1)})
            for c in columns:
                term = c.split("_", 1)[1]
                key = ("reconstruction_loss_" if term.startswith("reconstruction") else f"{term}_") + side
                out[key] = pd.DataFrame({key: table[c]})
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
        if name.startswith("__"):
            raise AttributeError(name)
        raise _not_here(type(self).__name__, name, dir(self))

    def __repr__(self) -> str:
        what = repr(self._model) if self._model is not None else "not trained"
        return f"{type(self).__name__} of scgraft: {what}"

    # What it says of cells.

    def _with(self, adata: AnnData | None) -> dict[str, Any]:
        data = self.adata if adata is None else _cells(adata)
        if data is None:
            raise ScgraftError("give adata=: the model has no cells in this session")
        where = self._where(data if SETUP in data.uns else self._like(data))
        return {"adata": data, **where}

    def _like(self, adata: AnnData) -> AnnData:
        if self.adata is not None and SETUP in self.adata.uns:
            adata.uns[SETUP] = dict(self.adata.uns[SETUP])
        return adata

    @overload
    def get_latent_representation(self, adata: AnnData | None = ..., indices: Sequence[int] | None = ..., give_mean: bool = ...,
                                  mc_samples: int = ..., batch_size: int | None = ...,
                                  return_dist: Literal[False] = ..., **_: Any) -> np.ndarray: ...  # fmt: skip
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
        return mean + np.sqrt(variance) * noise

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
            indices=indices,
            transform_batch=transform_batch,
            gene_list=gene_list,
            library_size="latent" if library_size == "latent" else float(library_size),
            n_samples=0 if n_samples <= 1 else int(n_samples),
            seed=seed,
            return_numpy=return_numpy,
            **self._with(adata),
        )

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
        draws = []
        for i in range(n_samples):
            drawn = self.model.posterior_predictive_sample(indices=indices, seed=seed + i, **self._with(adata))
            if gene_list is not None:
                at = self.model.var_names.get_indexer(list(gene_list))
                if (at < 0).any():
                    raise ScgraftError(f"gene_list: the model has no gene {list(gene_list)[int(np.argmin(at))]!r}")
                drawn = drawn[:, at]
            draws.append(drawn.toarray())
        return draws[0] if n_samples == 1 else np.stack(draws, axis=-1)

    def get_elbo(self, adata: AnnData | None = None, indices: Sequence[int] | None = None, **_: Any) -> float:
        """The evidence lower bound per cell, in nats."""
        return float(self.model.get_likelihood(indices=indices, **self._with(adata))["elbo"].mean())

    def get_reconstruction_error(
        self, adata: AnnData | None = None, indices: Sequence[int] | None = None, **_: Any
    ) -> dict[str, float]:
        """−E[ln p(x | z)] per cell, in nats."""
        table = self.model.get_likelihood(indices=indices, **self._with(adata))
        return {"reconstruction_loss": float(table["reconstruction_error"].mean())}

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
        mode: str = "vanilla",
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
            groupby, group1, group2, data = self._indexed(data, idx1, idx2)
        elif groupby is None:
            raise ScgraftError("differential_expression: give groupby=, or idx1= and idx2=")
        found = self.model.differential_expression(
            data,
            groupby=groupby,
            group1=None if group1 is None else group1 if isinstance(group1, str) else list(group1),
            group2=group2,
            mode=mode,
            delta=delta,
            fdr=fdr_target,
            pseudocount=pseudocounts,
            n_samples=n_samples_overall or 5000,
            transform_batch="all" if batch_correction else None,
            seed=seed,
            **where,
        )
        return self._their_columns(found, data, groupby, mode, delta, fdr_target, all_stats)

    def _indexed(self, data: AnnData, idx1: Any, idx2: Any) -> tuple[str, str, str | None, AnnData]:
        def rows(idx: Any) -> np.ndarray:
            if isinstance(idx, str):
                return np.asarray(data.obs.eval(idx), dtype=bool)
            mask = np.zeros(data.n_obs, dtype=bool)
            mask[np.asarray(idx)] = True
            return mask

        groups = np.full(data.n_obs, None, dtype=object)
        one = rows(idx1)
        groups[one] = "group1"
        other = ~one if idx2 is None else rows(idx2) & ~one
        groups[other] = "group2"
        data = data.copy()
        data.obs["_scgraft_groups"] = groups
        return "_scgraft_groups", "group1", "group2", data

    def _their_columns(
        self, found: pd.DataFrame, data: AnnData, groupby: str, mode: str, delta: float, fdr: float, all_stats: bool
    ) -> pd.DataFrame:
        parts = []
        for (one, two), rows in found.groupby(["group", "comparison"], sort=False, observed=True):
            p = rows["probability"].to_numpy()
            two_name = "Rest" if two == "rest" else two
            if mode == "vanilla":
                out = pd.DataFrame({"proba_m1": p, "proba_m2": 1 - p})
                order = np.argsort(-rows["log_bayes_factor"].to_numpy(), kind="stable")
            else:
                out = pd.DataFrame({"proba_de": p, "proba_not_de": 1 - p})
                order = np.argsort(-p, kind="stable")
            out["bayes_factor"] = rows["log_bayes_factor"].to_numpy()
            out["scale1"] = rows["mean_group"].to_numpy()
            out["scale2"] = rows["mean_comparison"].to_numpy()
            if mode == "change":
                out["delta"] = delta
                names = {"lfc_mean": "lfc_mean", "lfc_median": "lfc_median", "lfc_std": "lfc_sd", "lfc_min": "lfc_min",
                         "lfc_max": "lfc_max"}  # fmt: skip
                for theirs, ours in names.items():
                    out[theirs] = rows[ours].to_numpy()
            out.index = pd.Index(rows["gene"].astype(str))
            if all_stats:
                self._counted(out, data, groupby, str(one), None if two == "rest" else str(two))
            if mode == "change":
                out[f"is_de_fdr_{fdr}"] = rows["differs"].to_numpy(dtype=bool)
            out["comparison"] = f"{one} vs {two_name}"
            out["group1"], out["group2"] = str(one), two_name
            parts.append(out.iloc[order])
        return pd.concat(parts) if parts else found

    def _counted(self, out: pd.DataFrame, data: AnnData, groupby: str, one: str, two: str | None) -> None:
        """Means of counts, shares of cells that express a gene, and means of normalised counts."""
        x, var, _ = matrix(data, self._where(data if SETUP in data.uns else self._like(data)).get("layer"), False)
        x = sparse.csr_matrix(x)
        genes = var.index.get_indexer(out.index)
        of = data.obs[groupby].astype(object)
        mask1 = (of == one).to_numpy()
        mask2 = (of == two).to_numpy() if two is not None else (~mask1 & of.notna().to_numpy())
        total = np.maximum(np.asarray(x.sum(axis=1)).ravel(), 1.0)
        normalised = sparse.diags(1e4 / total) @ x
        for name, values in (("raw_mean", x), ("non_zeros_proportion", x != 0), ("raw_normalized_mean", normalised)):
            for at, mask in ((1, mask1), (2, mask2)):
                out[f"{name}{at}"] = np.asarray(values[mask].mean(axis=0)).ravel()[genes]

    # Files.

    def save(
        self,
        dir_path: str | Path,
        prefix: str | None = None,
        overwrite: bool = False,
        save_anndata: bool = False,
        **_: Any,
    ) -> None:
        """Write the model into a folder: ``model.scgraft``, and ``adata.h5ad`` where asked for."""
        folder = Path(dir_path)
        if folder.exists() and any(folder.iterdir()) and not overwrite:
            raise ScgraftError(f"{folder} exists and is not empty; give overwrite=True to replace what is in it")
        folder.mkdir(parents=True, exist_ok=True)
        prefix = prefix or ""
        self.model.save(folder / f"{prefix}{FILE}", overwrite=True)
        setup = {} if self.adata is None else {k: _plain(v) for k, v in dict(self.adata.uns.get(SETUP, {})).items()}
        about = {"class": type(self).__name__, "setup": setup}
        (folder / f"{prefix}setup.json").write_text(json.dumps(about), encoding="utf-8")
        if save_anndata and self.adata is not None:
            self.adata.write_h5ad(folder / f"{prefix}adata.h5ad")

    @classmethod
    def load(cls, dir_path: str | Path, adata: AnnData | None = None, prefix: str | None = None, **_: Any) -> _Base:
        """Read a model of a folder: one of scgraft, or one that scvi-tools or scArches saved."""
        folder, prefix = Path(dir_path), prefix or ""
        own = folder / f"{prefix}{FILE}"
        if not folder.exists():
            raise FileNotFoundError(f"{folder}: there is no such folder")
        setup: dict[str, Any] = {}
        if own.exists():
            model = load(own)
            about = folder / f"{prefix}setup.json"
            if about.exists():
                setup = json.loads(about.read_text(encoding="utf-8")).get("setup", {})
            saved = folder / f"{prefix}adata.h5ad"
            if adata is None and saved.exists():
                import anndata

                adata = anndata.read_h5ad(saved)
        else:
            model = import_model(folder)
            columns = [c for c in model.provenance.get("condition_columns", ()) if c]
            if columns:
                setup["batch_key"] = columns[0]
        if model.name != cls._name and not (cls is SCVI and model.name.startswith("scvi")):
            raise ScgraftError(f"{folder} holds a model {model.name!r}; {cls.__name__} reads {cls._name!r}")
        out = cls.__new__(cls)
        _Base.__init__(out)
        if adata is not None and SETUP not in adata.uns:
            adata.uns[SETUP] = setup
        out.adata, out._model, out._saved = adata, model, setup
        if adata is not None:
            model.adata = adata
        return out

    # Queries.

    @staticmethod
    def prepare_query_anndata(
        adata: AnnData,
        reference_model: Any,
        return_reference_var_names: bool = False,
        inplace: bool = True,
        **_: Any,
    ) -> AnnData | pd.Index | None:
        """Bring a query's genes into the order of the model's, genes that it lacks as zeros.

        Mapping aligns genes by itself; this is for what comes before it.
        """
        model = _of(reference_model)
        names = model.var_names
        if not hasattr(adata, "var_names"):
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
        for name, value in adata.obsm.items():
            out.obsm[name] = value
        for name, value in adata.uns.items():
            out.uns[name] = value
        if not inplace:
            return out
        adata._init_as_actual(out)
        return None

    @classmethod
    def load_query_data(
        cls,
        adata: AnnData,
        reference_model: Any,
        inplace_subset_query_vars: bool = False,
        unfrozen: bool = False,
        **more: Any,
    ) -> _Base:
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
        reference = _of(reference_model)
        told = (name for name in more if not name.startswith("freeze_"))
        _no_argument("load_query_data", told, IGNORED | {"prefix", "backup_url"})
        if more.get("freeze_expression") is False:
            unfrozen = True
        adata = _cells(adata)
        if adata is None:
            raise ScgraftError("load_query_data: adata: expected an AnnData or a MuData, found None")
        if inplace_subset_query_vars:
            cls.prepare_query_anndata(adata, reference)
        out = cls.__new__(cls)
        _Base.__init__(out)
        out._inherit(adata, reference_model)
        out._query = {"model": reference, "name": _new_name(reference), "surgery": "all" if unfrozen else "adaptor",
                      "more": {}}  # fmt: skip
        return out

    def _inherit(self, adata: AnnData, reference_model: Any) -> None:
        """The query's setup: its own, or the reference's."""
        if SETUP not in adata.uns:
            theirs = getattr(reference_model, "adata", None)
            saved = getattr(reference_model, "_saved", None)
            if theirs is not None and SETUP in getattr(theirs, "uns", {}):
                adata.uns[SETUP] = dict(theirs.uns[SETUP])
            elif saved:
                adata.uns[SETUP] = dict(saved)
            else:
                columns = _of(reference_model).provenance.get("condition_columns", ())
                adata.uns[SETUP] = {"batch_key": columns[0]} if len(columns) else {}
        batch = adata.uns[SETUP].get("batch_key")
        if isinstance(batch, str):
            _columns(adata, batch_key=batch)
        self.adata = adata

    @property
    def adaptor(self) -> Adaptor | None:
        """What the query added to the reference."""
        return self.model.adaptor


def _told(**given: Any) -> dict[str, Any]:
    """Those arguments that were given."""
    return {k: v for k, v in given.items() if v is not None}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else list(value) if isinstance(value, (list, tuple)) else value


def _of(reference: Any) -> Model:
    if isinstance(reference, Model):
        return reference
    if isinstance(reference, (str, Path)):
        own = Path(reference) / FILE
        return load(own) if own.exists() else import_model(reference)
    if isinstance(reference, _Base):
        return reference.model
    raise ScgraftError(f"reference_model: expected a trained model, found {type(reference).__name__}")


def _new_name(reference: Model) -> str:
    n = len(reference.grafts)
    while f"query{n or ''}" in reference.grafts:
        n += 1
    return f"query{n or ''}"


class SCVI(_Base):
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


class LinearSCVI(SCVI):
    """scVI with a linear decoder."""

    _name = "scvi-linear"

    def get_loadings(self) -> pd.DataFrame:
        """Weights of the latent dimensions on genes, genes × dimensions."""
        tensors = self.model.parameters()
        n, genes = self.model.n_latent, self.model.var_names
        for values in tensors.values():
            if values.shape == (n, len(genes)):
                return pd.DataFrame(values.T, index=genes, columns=[f"Z_{i}" for i in range(n)])
        raise NotHere("get_loadings: this model keeps no linear weights; model.parameters() has the tensors")


class SCANVI(_Base):
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
    def setup_anndata(
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
        _columns(adata, labels_key=labels_key)
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
        return (labels.notna() & (labels != setup.get("unlabeled_category"))).to_numpy()

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
        if self._unlabelled:
            return {}
        if "labels_key" not in setup or setup["labels_key"] not in adata.obs.columns:
            return {}
        return {"labels_key": setup["labels_key"], "unlabeled_category": setup.get("unlabeled_category")}

    def predict(
        self, adata: AnnData | None = None, indices: Sequence[int] | None = None, soft: bool = False, **_: Any
    ) -> np.ndarray | pd.DataFrame:
        """The most probable label of each cell; with ``soft`` the probability of every label, cells × labels."""
        found = self.model.predict(indices=indices, soft=soft, **self._with(adata))
        return found if soft else found.astype(str).to_numpy()


class TOTALVI(_Base):
    """totalVI, as scvi-tools speaks of it."""

    _name = "totalvi"

    @classmethod
    def setup_anndata(
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

    _arguments = {
        "n_latent": ("latent", int),
        "gene_likelihood": ("likelihood", str),
        "dropout_rate_encoder": ("dropout", float),
        "dropout_rate_decoder": ("dropout", float),
        "gene_dispersion": ("dispersion_by_condition", lambda d: d == "gene-batch"),
        "protein_dispersion": ("protein_dispersion_by_condition", lambda d: d == "protein-batch"),
        "empirical_protein_background_prior": ("empirical_prior", lambda prior: prior),
        "use_observed_lib_size": _Base._arguments["use_observed_lib_size"],
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

    def get_normalized_expression(
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
        kind = "total" if include_protein_background else "denoised"
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

    def _proteins(self, adata: Any, indices: Any, transform_batch: Any, listed: Any, kind: str) -> pd.DataFrame:
        table = self.model.get_proteins(indices=indices, transform_batch=transform_batch, kind=kind, **self._with(adata))
        return table if listed is None else table[list(listed)]


class _Arches(_Base):
    """What scArches' models share: no setup, epochs as ``n_epochs``, cells as arrays where asked."""

    def _begin(
        self, adata: AnnData, condition_key: str | None, hidden_layer_sizes: Sequence[int], dr_rate: float,
        recon_loss: str, use_ln: bool, use_bn: bool,
    ) -> None:  # fmt: skip
        if condition_key is None:
            raise ScgraftError(f"{type(self).__name__}: give condition_key=, a column of obs")
        _columns(adata, condition_key=condition_key)
        _setup(adata, batch_key=condition_key)
        _Base.__init__(self, adata)
        self._settings = {"hidden": [int(h) for h in hidden_layer_sizes], "dropout": float(dr_rate),
                          "likelihood": recon_loss, "norm": "layer" if use_ln else "batch" if use_bn else "none"}  # fmt: skip

    def train(  # type: ignore[override]
        self,
        n_epochs: int | None = None,
        lr: float | None = None,
        *,
        alpha_kl: float | None = None,
        alpha_epoch_anneal: int | None = None,
        weight_decay: float | None = None,
        batch_size: int = 128,
        early_stopping_kwargs: dict[str, Any] | None = None,
        use_early_stopping: bool = True,
        use_stratified_sampling: bool = False,
        seed: int | None = None,
        **more: Any,
    ) -> None:
        """Fit the model, or graft the query on; names as in scArches."""
        fit = self._own_fit(more)
        known = IGNORED | {"monitor", "monitor_only_val", "print_stats", "n_workers", "trainer", "log_train", "eps",
                           "clip_value", "train_frac", "reload_best"}  # fmt: skip
        _no_argument("train", more, known)
        if self.adata is None:
            raise ScgraftError("this model has no cells; give it some")
        share = more.get("train_frac")
        fit |= _told(
            max_epochs=n_epochs,
            lr=lr,
            batch_size=batch_size,
            seed=seed,
            early_stopping=None if use_early_stopping else False,
            patience=(early_stopping_kwargs or {}).get("patience") if use_early_stopping else None,
            stratified=use_stratified_sampling or None,
            train_size=None if share == 1 else share,
            weight_decay=weight_decay,
            kl_anneal=alpha_epoch_anneal,
            kl_weight=alpha_kl,
        )
        self._map(fit) if self._query is not None else self._train(fit)

    def _own_fit(self, more: dict[str, Any]) -> dict[str, Any]:
        """Settings of the fit that only this model has, taken out of what ``train`` was given."""
        return {}

    @classmethod
    def _query_of(cls, adata: AnnData, reference: Any, freeze: bool, freeze_expression: bool, more: dict[str, Any]) -> Any:
        out = super().load_query_data(adata, reference, unfrozen=not freeze, **more)
        if freeze and not freeze_expression:
            out._query["surgery"] = "first_layers"
        return out

    def _of_arrays(self, x: Any, c: Any) -> AnnData:
        """Cells of the arrays that scArches takes: expression, genes in the model's order, and conditions."""
        import anndata

        names = self.model.var_names if self.adata is None else self.adata.var_names
        x = sparse.csr_matrix(x)
        if x.shape[1] != len(names):
            raise ScgraftError(f"x: expected cells × {len(names)} genes, as in the model's cells; found {x.shape}")
        key = listed(self.registry["setup_args"].get("batch_key"))[0]
        if c is None or len(c) != x.shape[0]:
            raise ScgraftError(f"c: expected the condition of each of {x.shape[0]} cells")
        obs = pd.DataFrame({key: np.asarray(c, dtype=str)}, index=[str(i) for i in range(x.shape[0])])
        return anndata.AnnData(X=x, obs=obs, var=pd.DataFrame(index=names.astype(str)))

    def get_latent(
        self, x: Any = None, c: Any = None, mean: bool = False, mean_var: bool = False, **_: Any
    ) -> Any:
        """Where cells lie: a draw of each, or with ``mean`` the means, with ``mean_var`` means and variances.

        Parameters
        ----------
        x, c
            Expression of other cells, cells × genes in the order of this model's, and the condition of each.
        """
        adata = None if x is None else self._of_arrays(x, c)
        return self.get_latent_representation(adata, give_mean=mean, return_dist=mean_var and not mean)


class TRVAE(_Arches):
    """trVAE, as scArches speaks of it.

    Examples
    --------
    >>> import scgraft as sg
    >>> from scgraft.compat.scvi import TRVAE
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> model = TRVAE(sim.reference, condition_key="batch", hidden_layer_sizes=[64, 32])
    >>> model.train(n_epochs=1)
    >>> query = TRVAE.load_query_data(sim.query, model)
    >>> query.train(n_epochs=1, weight_decay=0)
    >>> query.get_latent(mean=True).shape
    (100, 10)
    """

    _name = "trvae"

    def __init__(
        self,
        adata: AnnData | None = None,
        condition_key: str | None = None,
        conditions: Sequence[str] | None = None,
        hidden_layer_sizes: Sequence[int] = (256, 64),
        latent_dim: int = 10,
        dr_rate: float = 0.05,
        use_mmd: bool = True,
        mmd_on: str = "z",
        mmd_boundary: int | None = None,
        recon_loss: str = "nb",
        beta: float = 1,
        use_bn: bool = False,
        use_ln: bool = True,
    ):
        if adata is None:
            super().__init__()
            return
        self._begin(adata, condition_key, hidden_layer_sizes, dr_rate, recon_loss, use_ln, use_bn)
        places = {"z": "latent", "y": "decoder"}
        if mmd_on not in places:
            raise ScgraftError(f"mmd_on={mmd_on!r}: expected 'z' or 'y'")
        self._settings |= {"latent": int(latent_dim), "mmd_weight": float(beta) if use_mmd else 0.0, "mmd_on": places[mmd_on]}
        if mmd_boundary is not None:
            self._settings["mmd_boundary"] = int(mmd_boundary)

    @classmethod
    def load_query_data(  # type: ignore[override]
        cls, adata: AnnData, reference_model: Any, freeze: bool = True, freeze_expression: bool = True,
        remove_dropout: bool = True, **more: Any,
    ) -> TRVAE:  # fmt: skip
        """A model with the query's conditions, to be trained on it."""
        return cls._query_of(adata, reference_model, freeze, freeze_expression, more)


def _no_scpoli(*_: Any, **__: Any) -> Any:
    """Not here; says what to use instead."""
    raise NotHere("scPoli is not here: train EXPIMAP or SCANVI on the same columns; scgraft.tl.annotate carries labels over, "
                  "with a class for new types")


class scPoli:  # noqa: N801
    """Not here; making one says what to use instead."""

    def __init__(self, *_: Any, **__: Any):
        _no_scpoli()

    load_query_data = load = staticmethod(_no_scpoli)



class EXPIMAP(_Arches):
    """expiMap, as scArches speaks of it: programs are a mask in ``varm``, latent dimensions are programs.

    Examples
    --------
    >>> import scgraft as sg
    >>> from scgraft.compat.scvi import EXPIMAP, add_annotations
    >>> sim = sg.datasets.simulate(n_reference=300, n_query=100)
    >>> add_annotations(sim.reference, sim.programs, min_genes=12)
    >>> model = EXPIMAP(sim.reference, condition_key="batch", hidden_layer_sizes=[64, 64])
    >>> model.train(n_epochs=2)
    >>> query = EXPIMAP.load_query_data(sim.query, model)
    >>> query.train(n_epochs=1)
    >>> query.get_latent(mean=True).shape
    (100, 40)
    """

    _name = "expimap"

    def __init__(
        self,
        adata: AnnData | None = None,
        condition_key: str | None = None,
        conditions: Sequence[str] | None = None,
        hidden_layer_sizes: Sequence[int] = (256, 256),
        dr_rate: float = 0.05,
        recon_loss: str = "nb",
        use_l_encoder: bool = False,
        use_bn: bool = False,
        use_ln: bool = True,
        mask: Any = None,
        mask_key: str = "I",
        decoder_last_layer: str | None = None,
        soft_mask: bool = False,
        n_ext: int = 0,
        **more: Any,
    ):
        if adata is None:
            super().__init__()
            return
        if use_l_encoder:
            raise NotHere("use_l_encoder is not here: library sizes are the sums of the counts")
        for name in more:
            if name not in ("n_ext_m", "use_hsic", "hsic_one_vs_all", "ext_mask", "soft_ext_mask"):
                raise ScgraftError(f"EXPIMAP: there is no argument {name!r}")
            if more[name] not in (0, False, None):
                raise NotHere(f"EXPIMAP({name}=...) is not here in a reference: put the gene sets into the mask, or add "
                              "programs with a query, load_query_data(new_n_ext_m=...)")
        self._begin(adata, condition_key, hidden_layer_sizes, dr_rate, recon_loss, use_ln, use_bn)
        if mask is not None:
            values = mask if isinstance(mask, pd.DataFrame) else np.asarray(mask)
            if len(values) != adata.n_vars:
                values = values.T
            adata.varm["I"], mask_key = values, "I"
        need("varm has no such mask", adata.varm, ". Make one with add_annotations(adata, files)", mask_key=mask_key)
        self._sets = dict(gene_sets(mask_key, adata))
        self._soft, self._n_ext = soft_mask, int(n_ext)
        if decoder_last_layer is not None:
            self._settings["output"] = decoder_last_layer

    def train(self, n_epochs: int | None = None, lr: float | None = None, **fit: Any) -> None:  # type: ignore[override]
        """Fit the model, or graft the query on; names as in scArches.

        Parameters
        ----------
        n_epochs, lr
            Passes over the cells, the step size; the model's own unless told.
        fit
            ``alpha``, ``alpha_l1``, ``gamma_ext``, ``gamma_epoch_anneal``, ``beta``: weights of the lasso of programs, of single
            genes, of new programs (and the epochs over which it comes up), and of their independence. ``alpha_kl``,
            ``alpha_epoch_anneal``, ``weight_decay``, ``batch_size``, ``early_stopping_kwargs``, ``use_early_stopping``,
            ``use_stratified_sampling``, ``seed``: as for all models of scArches.
        """
        super().train(n_epochs, lr, **fit)

    def _own_fit(self, more: dict[str, Any]) -> dict[str, Any]:
        if more.pop("omega", None) is not None:
            raise NotHere("omega is not here: every program has the same lasso weight, alpha")
        more.pop("print_n_deactive", None)
        lasso, hsic = more.pop("alpha", None), more.pop("beta", None)
        if self._query is not None:
            # The reference's lasso pruned once and for all; without HSIC asked for at the surgery, beta has nothing to weigh.
            lasso, hsic = None, hsic if self._query["hsic"] else None
        named = {"l1_weight": "alpha_l1", "new_l1_weight": "gamma_ext", "new_l1_anneal": "gamma_epoch_anneal"}
        return _told(lasso_weight=lasso, hsic_weight=hsic, **{ours: more.pop(name, None) for ours, name in named.items()})

    def _how(self) -> dict[str, Any]:
        return {"programs": self._sets, "min_genes": 1, "exact_case": True, "keep_outside_programs": True, "soft": self._soft,
                "n_free_programs": self._n_ext}  # fmt: skip

    @classmethod
    def load_query_data(  # type: ignore[override]
        cls,
        adata: AnnData,
        reference_model: Any,
        freeze: bool = True,
        freeze_expression: bool = True,
        unfreeze_ext: bool = True,
        remove_dropout: bool = True,
        new_n_ext: int | None = None,
        new_n_ext_m: int | None = None,
        new_ext_mask: Any = None,
        new_soft_ext_mask: bool = False,
        use_hsic: bool = False,
        hsic_one_vs_all: bool = False,
        **more: Any,
    ) -> EXPIMAP:
        """A model with the query's conditions, and new programs where asked for, to be trained on it.

        Parameters
        ----------
        new_n_ext
            How many programs without gene set.
        new_n_ext_m, new_ext_mask, new_soft_ext_mask
            Programs with gene sets: how many, the sets as programs × genes (or the other way round, or a dictionary), and
            whether they bind softly.
        use_hsic
            Whether new programs are kept independent of the others, with the weight ``beta`` of :meth:`train`.
        """
        _no_argument("load_query_data", more, IGNORED | {"new_conditions", "unknown_ct_names"})
        if not unfreeze_ext:
            raise NotHere("unfreeze_ext=False is not here: new programs that do not train say nothing; leave new_n_ext out")
        out = cls._query_of(adata, reference_model, freeze, freeze_expression, {})
        programs: dict[str, Any] = {"n_free_programs": int(new_n_ext or 0), "soft": bool(new_soft_ext_mask)}
        if new_n_ext_m or new_ext_mask is not None:
            if new_ext_mask is None:
                raise ScgraftError("new_n_ext_m: give the gene sets as new_ext_mask, genes × programs or a dictionary")
            mask = new_ext_mask
            if not isinstance(mask, dict):
                values = mask.to_numpy() if isinstance(mask, pd.DataFrame) else np.asarray(mask)
                genes = _of(reference_model).var_names
                values = values if values.shape[0] == len(genes) else values.T
                if values.shape[0] != len(genes):
                    raise ScgraftError(f"new_ext_mask: expected {len(genes)} genes on one side, found {values.shape[::-1]}")
                mask = {f"constrained_{j}": [genes[i] for i in np.flatnonzero(values[:, j])] for j in range(values.shape[1])}
            if new_n_ext_m and new_n_ext_m != len(mask):
                raise ScgraftError(f"new_n_ext_m={new_n_ext_m}: new_ext_mask has {len(mask)} programs")
            programs |= {"new_programs": mask, "min_genes": 1}
        if not use_hsic and (new_n_ext or new_n_ext_m or new_ext_mask is not None):
            programs["hsic_weight"] = 0.0
        out._query |= {"more": programs, "hsic": bool(use_hsic)}
        return out

    def get_latent(
        self, x: Any = None, c: Any = None, only_active: bool = False, mean: bool = False, mean_var: bool = False
    ) -> Any:
        """Scores of cells in the programs, cells × programs; of ``only_active`` those that the fit kept.

        Parameters
        ----------
        x, c
            Expression of other cells, cells × genes in the order of this model's, and the condition of each.
        """
        found = super().get_latent(x, c, mean, mean_var)
        if not only_active:
            return found
        active = self.nonzero_terms()
        return tuple(f[:, active] for f in found) if isinstance(found, tuple) else found[:, active]

    def nonzero_terms(self) -> np.ndarray:
        """The rows of the programs that the fit kept."""
        return np.flatnonzero(self.model.programs()["active"].to_numpy())

    @property
    def terms(self) -> list[str]:
        """The names of the programs; scArches' for new ones."""
        table = self.model.programs()
        kinds = {"constrained": 0, "unconstrained": 0}
        out = []
        for name, graft, size in zip(table.index, table["graft"], table["set_size"], strict=True):
            if graft is None or pd.isna(graft):
                out.append(str(name))
                continue
            kind = "constrained" if size else "unconstrained"
            out.append(f"{kind}_{kinds[kind]}")
            kinds[kind] += 1
        return out

    def _terms(self, terms: str | Sequence[str], adata: AnnData | None) -> list[str]:
        data = self.adata if adata is None else adata
        if isinstance(terms, str):
            need("uns has no such entry", data.uns, terms=terms)
            terms = data.uns[terms]
        given, own = [str(t) for t in terms], self.terms
        known = int(pd.isna(self.model.programs()["graft"]).sum())
        if len(given) not in (known, len(own)):
            raise ScgraftError(f"terms: expected the names of {known} programs of the reference, or of all {len(own)}; found "
                               f"{len(given)}")
        return given + own[len(given):]

    def update_terms(self, terms: str | Sequence[str] = "terms", adata: AnnData | None = None) -> list[str] | None:
        """Add the names of new programs (``constrained_0``, ``unconstrained_0``, …) to those of the reference's.

        Parameters
        ----------
        terms
            An entry of ``uns``, which is changed, or the names, which are given back with the new ones.
        """
        found = self._terms(terms, adata)
        if not isinstance(terms, str):
            return found
        (self.adata if adata is None else adata).uns[terms] = found
        return None

    def term_genes(self, term: str | int, terms: str | Sequence[str] = "terms") -> pd.DataFrame:
        """The genes of a program, the heaviest first: ``genes``, ``weights``, ``in_mask``."""
        names = self._terms(terms, None) if not isinstance(terms, str) or terms in self.adata.uns else self.terms
        if isinstance(term, str):
            need("there is no such program", names, term=term)
        at = names.index(term) if isinstance(term, str) else int(term)
        if not 0 <= at < len(names):
            raise ScgraftError(f"term={term!r}: there are {len(names)} programs")
        genes = self.model._native.programs("top")[at]["genes"]
        table = pd.DataFrame(genes, columns=["genes", "weights", "share", "in_mask"]).drop(columns="share")
        order = np.argsort(-table["weights"].abs().to_numpy(), kind="stable")
        return table.iloc[order].reset_index(drop=True)

    def mask_genes(self, terms: str | Sequence[str] = "terms") -> dict[str, list[str]]:
        """The genes of the mask, by program of the reference."""
        sets = getattr(self, "_sets", None) or (dict(gene_sets("I", self.adata)) if "I" in self.adata.varm else None)
        if sets is None:
            raise NotHere("mask_genes: these cells have no mask; put it into varm['I'] with add_annotations(adata, files)")
        names = [str(t) for t in (self.adata.uns.get(terms, list(sets)) if isinstance(terms, str) else terms)]
        return dict(zip(names, sets.values(), strict=False))

    def latent_directions(
        self, method: str = "sum", get_confidence: bool = False, adata: AnnData | None = None,
        key_added: str = "directions",
    ) -> Any:  # fmt: skip
        """The direction of every program, 1 or −1 (0: none), into ``uns[key_added]`` of these cells or the model's.

        Parameters
        ----------
        method
            ``"sum"`` of the weights, or ``"counts"``: the sign most of them have; scgraft's own is ``"top"``.
        get_confidence
            Also how clear that is, into ``uns[key_added + "_confindence"]`` (their spelling).

        Returns
        -------
        The directions, where no cells were given.
        """
        table = self.model.programs(direction=method)
        directions = table["direction"].to_numpy().astype(float)
        target = self.adata if adata is None else adata
        target.uns[key_added] = directions
        if get_confidence:
            target.uns[f"{key_added}_confindence"] = table["direction_confidence"].to_numpy()
        return directions if adata is None else None

    def latent_enrich(
        self,
        groups: str | dict[str, list[str]],
        comparison: str | list[str] = "rest",
        n_sample: int = 5000,
        use_directions: bool = False,
        directions_key: str = "directions",
        select_terms: Any = None,
        adata: AnnData | None = None,
        exact: bool = True,
        key_added: str = "bf_scores",
    ) -> dict[str, Any] | None:
        """Bayes factors of every program between groups of cells, into ``uns[key_added]``.

        Each group has ``p_h0``, ``p_h1`` and ``bf``, one value a program; programs that the fit pruned have 0. ``exact``
        takes all pairs of cells, without so many are drawn.

        Parameters
        ----------
        use_directions, directions_key
            Turn scores by ``uns[directions_key]``, which :meth:`latent_directions` writes.
        select_terms
            Rows of the programs wanted.
        """
        from .. import tl
        from ..get import enrich_df

        target = self.adata if adata is None else adata
        if use_directions:
            remedy = ". Write them with latent_directions(adata=...)"
            need("uns has no such entry", target.uns, remedy, directions_key=directions_key)
        data = target.copy()
        self.model.to_adata(self._like(data) if SETUP not in data.uns else data)
        if isinstance(groups, dict):
            column = np.full(data.n_obs, None, dtype=object)
            for name, members in groups.items():
                column[data.obs_names.isin(members) if isinstance(members[0], str) else np.asarray(members)] = name
            data.obs["_scgraft_groups"], groups = column, "_scgraft_groups"
        tl.enrich(data, groupby=groups, versus=comparison, directed=False, min_cells=1, published=True,
                  n_samples=None if exact else int(n_sample), key_added="latent")  # fmt: skip
        table = enrich_df(data, key="latent")
        names = self.model.latent_names
        sign = np.asarray(target.uns[directions_key], dtype=float) if use_directions else np.ones(len(names))
        if len(sign) != len(names):
            raise ScgraftError(f"uns[{directions_key!r}] has {len(sign)} directions for {len(names)} programs; call "
                               "latent_directions(adata=...) with this model")  # fmt: skip
        wanted = np.arange(len(names)) if select_terms is None else np.asarray(select_terms)
        scores = {}
        for group, rows in table.groupby("group", sort=False, observed=True):
            rows = rows.set_index("program").reindex(names)
            p, bf = rows["probability"].to_numpy(dtype=float), rows["log_bayes_factor"].to_numpy(dtype=float)
            there = np.isfinite(p) & (sign != 0)
            p, bf = np.where(sign < 0, 1.0 - p, p), bf * sign
            found = {"p_h0": np.where(there, p, 0.0), "p_h1": np.where(there, 1.0 - p, 0.0), "bf": np.where(there, bf, 0.0)}
            scores[str(group)] = {k: v[wanted] for k, v in found.items()}
        target.uns[key_added] = scores
        return scores if adata is not None else None


def plot_abs_bfs(adata: AnnData, scores_key: str = "bf_scores", terms: str | Sequence[str] = "terms", n_cols: int = 3,
                 n_points: int = 30, **_: Any) -> Any:  # fmt: skip
    """Absolute Bayes factors of :meth:`EXPIMAP.latent_enrich`, the leading programs of every group by name.

    Returns
    -------
    The figure.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ScgraftError("pictures need matplotlib: pip install 'scgraft[plot]'") from None
    from ..pl import short

    need("uns has no such entry", adata.uns, scores_key=scores_key, terms=terms if isinstance(terms, str) else None)
    scores = dict(adata.uns[scores_key])
    names = np.asarray(adata.uns[terms] if isinstance(terms, str) else terms, dtype=object)
    n_cols = min(n_cols, len(scores))
    n_rows = -(-len(scores) // n_cols)
    fig, axes = plt.subplots(n_rows, n_cols, figsize=(4.2 * n_cols, 4.2 * n_rows), squeeze=False, layout="constrained")
    for ax in axes.flat[len(scores):]:
        ax.set_axis_off()
    for ax, (group, found) in zip(axes.flat, scores.items(), strict=False):
        bf = np.abs(np.asarray(found["bf"], dtype=float))
        if len(bf) != len(names):
            raise ScgraftError(f"terms: {len(names)} names for {len(bf)} programs; call update_terms(adata=...)")
        order = np.argsort(-bf)[:n_points][::-1]
        ax.barh(np.arange(len(order)), bf[order], color=np.where(np.asarray(found["bf"])[order] > 0, "tab:red", "tab:blue"))
        ax.set_yticks(np.arange(len(order)), short(names[order]), fontsize=6)
        ax.axvline(2.3, color="grey", lw=0.8, ls=":")
        ax.set(title=str(group), xlabel="|log Bayes factor|")
    return fig


def add_annotations(
    adata: AnnData,
    files: Any,
    min_genes: int = 0,
    max_genes: int | None = None,
    varm_key: str = "I",
    uns_key: str = "terms",
    clean: bool = True,
    genes_use_upper: bool = True,
) -> None:
    """Lay gene sets over the genes of cells: a mask in ``varm``, the names in ``uns``.

    Parameters
    ----------
    files
        GMT files, or whatever :func:`scgraft.train` takes as programs.
    min_genes, max_genes
        A set is kept with more genes of the data than ``min_genes`` and fewer than ``max_genes``.
    varm_key, uns_key
        Where mask and names go.
    clean
        Drop the first word of a name (``REACTOME_``) and cut it to thirty letters; a name that would be another's then is not
        cut, or stays as it is.
    genes_use_upper
        Whether upper and lower case are the same.
    """
    sets = gene_sets(files, adata)
    names = [str(g).upper() if genes_use_upper else str(g) for g in adata.var_names]
    masks, terms = [], []
    for name, genes in sets:
        among = {g.upper() if genes_use_upper else g for g in genes}
        mask = np.fromiter((g in among for g in names), dtype=bool, count=len(names))
        n = int(mask.sum())
        if n > min_genes and (max_genes is None or n < max_genes):
            masks.append(mask)
            terms.append(name)
    if not terms:
        raise ScgraftError(f"add_annotations: no gene set has more than {min_genes} genes of the data")
    adata.varm[varm_key] = np.stack(masks, axis=1).astype(np.int64)
    adata.uns[uns_key] = _cleaned(terms) if clean else terms


def _cleaned(terms: list[str]) -> list[str]:
    bare = [t.split("_", 1)[-1] for t in terms]
    forms = list(zip([b[:30] for b in bare], bare, terms, strict=True))
    often = [Counter(form) for form in zip(*forms, strict=True)]
    return [next((f for f, n in zip(of, often, strict=True) if n[f] == 1), of[-1]) for of in forms]


class _Names:
    """Names of a module of theirs: those that are here, and what to use instead of the others."""

    def __init__(self, module: str, *there: Any):
        self._module = module
        self.__dict__.update({thing.__name__: thing for thing in there})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _not_here(self._module, name, self.__dict__)

    def __dir__(self) -> list[str]:
        return [name for name in self.__dict__ if not name.startswith("_")]


class _Settings:
    """scvi-tools' settings: ``seed``, ``num_threads`` and ``verbosity`` are those of :data:`scgraft.settings`, the others are
    taken and change nothing."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "verbosity":
            session.verbosity = 2 if value <= logging.INFO else 1 if value <= logging.WARNING else 0
        elif name in ("seed", "num_threads"):
            setattr(session, name.removeprefix("num_"), value)
        else:
            self.__dict__[name] = value

    def __getattr__(self, name: str) -> Any:
        if name == "verbosity":
            return (logging.ERROR, logging.WARNING, logging.INFO)[min(session.verbosity, 2)]
        if name in ("seed", "num_threads"):
            return getattr(session, name.removeprefix("num_"))
        raise AttributeError(name)


model = _Names("scvi.model", SCVI, SCANVI, TOTALVI, LinearSCVI)
models = _Names("scarches.models", EXPIMAP, TRVAE, SCVI, SCANVI, TOTALVI, scPoli)
utils = _Names("scarches.utils", add_annotations)
plotting = _Names("scarches.plotting", plot_abs_bfs)
settings = _Settings()


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # No AttributeError, which an import would turn into one without the advice.
        raise ScgraftError(str(_not_here(__name__, name, __all__)))
