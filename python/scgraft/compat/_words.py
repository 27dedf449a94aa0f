"""What scvi-tools and scArches say that is not here, and what to use instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._adata import nearest
from .._native import ScgraftError

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
    "trainer": "history has the fit",
    "differential_abundance": "scgraft.tl.enrich and scgraft.tl.annotate compare groups of cells",
    "get_aggregated_posterior": "get_latent_representation(return_dist=True) gives means and variances",
    "setup_mudata": "setup_anndata takes the AnnData of the counts; TOTALVI.setup_mudata takes a MuData",
    "convert_legacy_save": "load(folder) reads folders of every version of scvi-tools",
    "load_registry": "load(folder).registry, or scgraft.import_model(folder).provenance",
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
    "hub": "scgraft.hub fetches and sends models, scgraft.load takes their addresses",
    "metrics": "scgraft.tl.evaluate",
    "autotune": "a loop over train and load_query_data, with scgraft.tl.evaluate at its end",
    "criticism": "posterior_predictive_sample",
    "MULTIVI": "there is no model of accessibility; scgraft.models() lists those that there are",
    "TotalVI": "TOTALVI",
}
for _told in ("adata_manager", "get_anndata_manager", "register_manager"):
    ADVICE[_told] = "setup_anndata writes adata.uns['_scgraft_setup']"
for _name, _same in {"get_latent_from_posterior": "get_aggregated_posterior", "dataset": "data", "PEAKVI": "MULTIVI"}.items():
    ADVICE[_name] = ADVICE[_same]


def not_here(owner: str, name: str, there: Iterable[str]) -> AttributeError:
    """The error for a name that is not there, with what to use instead."""
    if name.startswith("__"):
        return AttributeError(f"{owner} has no {name}")
    known = nearest(name, [n for n in there if not n.startswith("_")])
    return NotHere(f"{owner}.{name} is not here: {ADVICE.get(name) or f'there are: {known}'}")


def no_argument(where: str, given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            raise ScgraftError(f"{where}: there is no argument {name!r}")


class Named(type):
    """Names what to use instead of a class method that is not here."""

    def __getattr__(cls, name: str) -> Any:
        raise not_here(cls.__name__, name, dir(cls))


def only_given(**given: Any) -> dict[str, Any]:
    """Those arguments that were given."""
    return {k: v for k, v in given.items() if v is not None}


class Names:
    """Names of a module of theirs: those that are here, and what to use instead of the others."""

    def __init__(self, module: str, *there: Any):
        self._module = module
        self.__dict__.update({thing.__name__: thing for thing in there})

    def __getattr__(self, name: str) -> Any:
        raise not_here(self._module, name, self.__dict__)

    def __dir__(self) -> list[str]:
        return [name for name in self.__dict__ if not name.startswith("_")]
