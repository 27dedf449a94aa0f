"""Models as scvi-tools and scArches save them, small, on simulated data, with what the package computes from them.

    python tools/golden/published_models.py               # the committed ones, into crates/hub/tests/golden
    python tools/golden/published_models.py --all FOLDER  # every setting, larger; for the parity test of crates/hub
    python tools/golden/published_models.py --package scarches FOLDER

Packages: tools/peers/requirements-current.txt; for scArches, requirements-scarches.txt. Each model has a folder: what
the package saved (of a minified one also its cells, without counts), and `expected.safetensors`: the cells (names in the header), latent means, normalised expression at
the latent mean and a library size of 1, label probabilities, proteins without background.
"""

import argparse
import json
import struct
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore")
SEED = 7
COMMITTED = Path(__file__).resolve().parents[2] / "crates" / "hub" / "tests" / "golden"

# Class, settings of the class, what the data is set up with; the tiny ones are committed.
BATCH = {"batch_key": "tech"}
COVARIATES = {
    "batch_key": "tech",
    "categorical_covariate_keys": ["donor", "phase"],
    "continuous_covariate_keys": ["mito", "depth"],
}
MAPPING = {"encode_covariates": True, "deeply_inject_covariates": False, "use_layer_norm": "both", "use_batch_norm": "none"}
LABELS = {"batch_key": "tech", "labels_key": "type", "unlabeled_category": "unknown"}
PROTEINS = {"batch_key": "tech", "protein_expression_obsm_key": "protein"}
SCVI_TOOLS = {
    "scvi_default": ("SCVI", {}, BATCH),
    "scvi_mapping": ("SCVI", {**MAPPING, "n_layers": 2}, BATCH),
    "scvi_covariates_deep": ("SCVI", {"encode_covariates": True, "n_layers": 2}, COVARIATES),
    "scvi_covariates": ("SCVI", {"gene_likelihood": "nb"}, COVARIATES),
    "scvi_one_batch": ("SCVI", {"gene_likelihood": "nb", "encode_covariates": True}, {}),
    "scvi_layer": ("SCVI", {}, {"batch_key": "tech", "layer": "counts"}),
    "scvi_poisson": ("SCVI", {"gene_likelihood": "poisson", "use_batch_norm": "encoder"}, BATCH),
    "scvi_normal": ("SCVI", {"gene_likelihood": "normal"}, BATCH),
    "scvi_gene_batch": ("SCVI", {"dispersion": "gene-batch", "n_layers": 3}, BATCH),
    "scvi_gene_cell": ("SCVI", {"dispersion": "gene-cell"}, BATCH),
    "scvi_gene_label": ("SCVI", {"dispersion": "gene-label"}, {"batch_key": "tech", "labels_key": "type"}),
    "scvi_learned_library": ("SCVI", {"use_observed_lib_size": False, "gene_likelihood": "nb"}, BATCH),
    "scvi_logistic_normal": ("SCVI", {"latent_distribution": "ln"}, BATCH),
    "scvi_no_norm": ("SCVI", {"use_batch_norm": "none"}, BATCH),
    "scvi_minified": ("SCVI", {**MAPPING}, BATCH),
    "linear_default": ("LinearSCVI", {}, BATCH),
    "linear_bias": ("LinearSCVI", {"bias": True, "use_batch_norm": False, "gene_likelihood": "zinb"}, BATCH),
    "scanvi_default": ("SCANVI", {}, LABELS),
    "scanvi_mapping": ("SCANVI", {**MAPPING, "n_layers": 2, "gene_likelihood": "nb"}, LABELS),
    "scanvi_covariates": ("SCANVI", {"encode_covariates": True}, {**COVARIATES, **LABELS}),
    "scanvi_linear_classifier": ("SCANVI", {"linear_classifier": True}, LABELS),
    "totalvi_default": ("TOTALVI", {}, PROTEINS),
    "totalvi_mapping": ("TOTALVI", {"use_layer_norm": "both", "use_batch_norm": "none"}, PROTEINS),
    "totalvi_covariates": ("TOTALVI", {"gene_likelihood": "zinb"}, {**COVARIATES, **PROTEINS}),
    "totalvi_dispersions": (
        "TOTALVI",
        {"gene_dispersion": "gene-batch", "protein_dispersion": "protein-batch", "n_layers_decoder": 2},
        PROTEINS,
    ),
    "totalvi_learned_library": ("TOTALVI", {"use_observed_lib_size": False}, PROTEINS),
}
SCARCHES = {
    "expimap_hard": ("EXPIMAP", {"recon_loss": "nb"}),
    "expimap_soft": ("EXPIMAP", {"recon_loss": "nb", "soft_mask": True}),
    "expimap_mse": ("EXPIMAP", {"recon_loss": "mse"}),
    "trvae_nb": ("TRVAE", {"recon_loss": "nb", "use_mmd": True, "mmd_on": "z"}),
    "trvae_batch_norm": ("TRVAE", {"recon_loss": "zinb", "use_mmd": True, "mmd_on": "y", "use_bn": True, "use_ln": False}),
    "cvae_mse": ("TRVAE", {"recon_loss": "mse", "use_mmd": False}),
}
TINY = ["scvi_default", "scvi_minified", "scvi_covariates_deep", "scvi_one_batch", "linear_default", "scanvi_mapping", "totalvi_default", "expimap_hard", "trvae_batch_norm"]


def cells(n_cells, n_genes, n_proteins, rng):
    """Simulated counts of three batches and four types, with covariates, labels and proteins."""
    import anndata
    import pandas as pd

    kinds = rng.integers(0, 4, n_cells)
    tech = rng.integers(0, 3, n_cells)
    rate = np.exp(rng.normal(0, 1, (4, n_genes)))[kinds] * np.exp(rng.normal(0, 0.3, (3, n_genes)))[tech]
    x = rng.negative_binomial(2, 2 / (2 + rate * rng.uniform(0.5, 2, (n_cells, 1)))).astype(np.float32)
    x[x.sum(1) == 0, 0] = 1
    labels = np.array(["B", "T", "NK", "Mono"])[kinds]
    labels[rng.random(n_cells) < 0.2] = "unknown"
    obs = pd.DataFrame(
        {
            "tech": pd.Categorical(np.array(["v2", "v3", "drop"])[tech]),
            "donor": pd.Categorical(np.array(["d1", "d2"])[rng.integers(0, 2, n_cells)]),
            "phase": pd.Categorical(np.array(["G1", "S", "G2M"])[rng.integers(0, 3, n_cells)]),
            "mito": rng.normal(0, 1, n_cells).astype(np.float32),
            "depth": rng.normal(0, 1, n_cells).astype(np.float32),
            "type": pd.Categorical(labels),
        },
        index=[f"cell{i}" for i in range(n_cells)],
    )
    adata = anndata.AnnData(x, obs, pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]))
    adata.layers["counts"] = x.copy()
    protein = rng.negative_binomial(3, 3 / (3 + np.exp(rng.normal(1, 1, (4, n_proteins)))[kinds])).astype(np.float32)
    # The last batch lacks a protein.
    protein[tech == 2, 1] = 0
    adata.obsm["protein"] = pd.DataFrame(protein, index=obs.index, columns=[f"CD{i}" for i in range(n_proteins)])
    return adata


def write(path, tensors, meta):
    """A safetensors file of float32."""
    header, blob = {"__metadata__": {"meta": json.dumps(meta, sort_keys=True)}}, b""
    for key in sorted(tensors):
        data = np.ascontiguousarray(tensors[key], dtype=np.float32)
        header[key] = {"dtype": "F32", "shape": list(data.shape), "data_offsets": [len(blob), len(blob) + data.nbytes]}
        blob += data.tobytes()
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + blob)


def inputs(adata, continuous):
    """What the test needs of the cells."""
    tensors = {"x": adata.X, "protein": adata.obsm["protein"].to_numpy()}
    tensors.update({name: adata.obs[name].to_numpy() for name in continuous})
    columns = {name: adata.obs[name].astype(str).tolist() for name in ("tech", "donor", "phase", "type")}
    return tensors, {"genes": adata.var_names.tolist(), "proteins": adata.obsm["protein"].columns.tolist(), "obs": columns}


def computed(model, adata, kind, settings):
    """What a model as saved and read again makes of the cells, at their latent means."""
    import torch

    tensors, module = {}, model.module
    module.eval()
    with torch.no_grad():
        batch = next(iter(model._make_data_loader(adata, batch_size=adata.n_obs)))
        found = module.inference(**module._get_inference_input(batch))
        mean = found["qz"].loc if "qz" in found else found["qz_m"]
        tensors["latent"] = mean.numpy()
        if settings.get("latent_distribution") != "ln":  # which the package shows as its softmax
            np.testing.assert_allclose(tensors["latent"], model.get_latent_representation(), rtol=1e-5, atol=1e-6)
        if kind == "TOTALVI":
            found["z"] = mean
            decoded = module.generative(**module._get_generative_input(batch, found))
            px, py = decoded["px_"], decoded["py_"]
            tensors["expression"] = px["scale"].numpy()
            foreground = 1 - torch.sigmoid(py["mixing"])
            # The background at its mean; `rate_fore` has the drawn one.
            background = torch.exp(py["back_alpha"] + py["back_beta"] ** 2 / 2)
            tensors["foreground_probability"] = foreground.numpy()
            tensors["foreground"] = (background * py["fore_scale"] * foreground).numpy()
        else:
            found["z"] = module.z_encoder.z_transformation(mean)
            decoded = module.generative(**module._get_generative_input(batch, found))
            px = decoded.get("px")
            normalised = getattr(px, "get_normalized", lambda _: px.scale)
            tensors["expression"] = (decoded["px_scale"] if px is None else normalised("scale")).numpy()
    return tensors


def scvi_tools(folder, name, size):
    import scvi
    import torch

    scvi.settings.seed = SEED
    torch.set_num_threads(1)
    kind, settings, setup = SCVI_TOOLS[name]
    rng = np.random.default_rng(SEED)
    adata = cells(size["cells"], size["genes"], size["proteins"], rng)
    if settings.get("gene_likelihood") == "normal":
        adata.X = np.log1p(adata.X)
    cls = getattr(scvi.model, kind)
    setup = dict(setup)
    settings = {"n_hidden": size["hidden"], "n_latent": size["latent"], **settings}
    version = tuple(int(part) for part in scvi.__version__.split(".")[:2])
    if version >= (0, 15):
        cls.setup_anndata(adata, **setup)
        model = cls(adata, **settings)
    else:
        before = {key: value for key, value in setup.items() if key != "unlabeled_category"}
        set_up = cls.setup_anndata if hasattr(cls, "setup_anndata") else scvi.data.setup_anndata
        set_up(adata, **before)
        model = cls(adata, *([setup["unlabeled_category"]] if kind == "SCANVI" else []), **settings)
    device = {"accelerator": "cpu", "enable_progress_bar": False} if version >= (1, 0) else {"use_gpu": False}
    epochs = {"n_epochs": size["epochs"]} if version < (0, 9) else {"max_epochs": size["epochs"], **device}
    if kind == "SCANVI" and version < (0, 9):
        epochs = {"n_epochs_unsupervised": size["epochs"], "n_epochs_semisupervised": size["epochs"]}
    if version >= (0, 9):
        epochs.update(batch_size=64, **({} if kind == "SCANVI" and version < (0, 13) else {"early_stopping": False}))
    if kind == "TOTALVI" and (0, 9) <= version < (0, 17):
        epochs["reduce_lr_on_plateau"] = False
    model.train(**epochs)
    model.history_ = {}
    out = folder / name
    model.save(out, overwrite=True, save_anndata=False)

    tensors, meta = inputs(adata, ["mito", "depth"])
    if version < (0, 9):
        tensors["latent"] = model.get_latent_representation()
    else:
        tensors.update(computed(model, adata, kind, settings))
    if kind == "SCANVI":
        soft = model.predict(soft=True)
        if hasattr(soft, "columns"):  # old versions do not name them
            tensors["probability"] = soft.to_numpy()
            meta["labels"] = [str(c) for c in soft.columns]
    meta.update(
        {
            "class": kind,
            "settings": settings,
            "setup": setup,
            "versions": {"scvi-tools": scvi.__version__, "torch": torch.__version__},
        }
    )
    if name.endswith("minified"):
        adata.obsm["X_latent_qzm"], adata.obsm["X_latent_qzv"] = model.get_latent_representation(return_dist=True)
        model.minify_adata()
        model.save(out, overwrite=True, save_anndata=True)
    write(out / "expected.safetensors", tensors, meta)


def scarches(folder, name, size):
    import scarches as sca
    import scvi
    import torch

    torch.manual_seed(SEED)
    np.random.seed(SEED)
    kind, settings = SCARCHES[name]
    rng = np.random.default_rng(SEED)
    adata = cells(size["cells"], size["genes"], size["proteins"], rng)
    adata.obs["tech"] = adata.obs["tech"].astype(str)
    if settings["recon_loss"] == "mse":
        adata.X = np.log1p(adata.X)
    tensors, meta = inputs(adata, ["mito", "depth"])
    common = {"condition_key": "tech", "hidden_layer_sizes": [size["hidden"], size["hidden"] - 1]}
    if kind == "EXPIMAP":
        mask = (rng.random((size["latent"], size["genes"])) < 0.4).astype(float)
        mask[:, 0] = 1
        model = sca.models.EXPIMAP(adata=adata, mask=mask.tolist(), **common, **settings)
        train = {"alpha": 0.0, "alpha_l1": 0.1} if settings.get("soft_mask") else {"alpha": 0.0}
    else:
        model = sca.models.TRVAE(adata=adata, latent_dim=size["latent"], **common, **settings)
        train = {}
    model.train(n_epochs=size["epochs"], alpha_epoch_anneal=2, use_early_stopping=False, seed=SEED, **train)
    out = folder / name
    model.save(out, overwrite=True, save_anndata=False)
    x = torch.tensor(adata.X)
    codes = torch.tensor([model.model.condition_encoder[c] for c in adata.obs["tech"]])
    model.model.eval()
    found = model.model.get_latent(x, codes, mean=True)
    mean = (found if isinstance(found, torch.Tensor) else torch.tensor(found)).detach()
    tensors["latent"] = mean.cpu().numpy()
    with torch.no_grad():
        # Shares of the library size for counts, values for squared error.
        tensors["expression"] = model.model.decoder(mean, codes)[0].cpu().numpy()
    meta.update(
        {
            "class": kind,
            "settings": settings,
            "setup": {"batch_key": "tech"},
            "versions": {"scarches": "0.6.1", "scvi-tools": scvi.__version__, "torch": torch.__version__},
        }
    )
    write(out / "expected.safetensors", tensors, meta)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=COMMITTED)
    parser.add_argument("--all", action="store_true", help="every setting, larger models")
    parser.add_argument("--package", choices=["scvi-tools", "scarches"], default="scvi-tools")
    parser.add_argument("--only", nargs="*", help="names of models")
    args = parser.parse_args()
    make, models = (scvi_tools, SCVI_TOOLS) if args.package == "scvi-tools" else (scarches, SCARCHES)
    size = {"cells": 24, "genes": 20, "proteins": 4, "hidden": 8, "latent": 3, "epochs": 2}
    if args.all:
        size = {"cells": 500, "genes": 200, "proteins": 15, "hidden": 32, "latent": 8, "epochs": 15}
    args.folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in models:
        if name in (args.only or (models if args.all else TINY)):
            try:
                make(args.folder, name, size)
                print(name, flush=True)
            except Exception:  # of any version of any package
                traceback.print_exc()
                failed.append(name)
    if failed:
        sys.exit(f"not made: {', '.join(failed)}")


if __name__ == "__main__":
    main()
