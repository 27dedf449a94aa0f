"""What `scgraft export` writes, loaded by scvi-tools: latent means of both, for every model that has an equal there.

    cargo build && python tools/peers/exported.py target/debug/scgraft [FOLDER]

Packages: requirements-current.txt (scvi-tools 1.4.2, Python 3.11), and the same with scvi-tools==1.5.1 (Python 3.12).
Models are trained here for a few epochs on simulated cells of two batches, a third batch is mapped onto each, and the grafted
model is exported. With FOLDER (`tools/golden/published_models.py --all FOLDER`) models that scvi-tools saved are imported and
exported as well. Ends with an error where a difference is above 1e-4 of the largest latent mean.
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""
warnings.filterwarnings("ignore")

import anndata
import numpy as np
import scvi

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))
import published_models

scvi.settings.verbosity = 40
MOST = 1e-4
COVARIATES = ["--covariates", "donor,phase", "--continuous", "mito,depth"]
PROTEINS = ["--proteins", "protein"]
AS_LINEAR = ["encode_covariates=false", "encoder_norm=batch", "decoder_norm=batch"]
# Name: model, settings, options of training, and whether a third batch is mapped on it.
OWN = {
    "scvi": ("scvi", [], [], True),
    "scvi, batch norm, covariates": ("scvi", ["encoder_norm=batch", "decoder_norm=batch", "deep_covariates=true"], COVARIATES, True),
    "scvi, dispersion by batch, learned library": ("scvi", ["dispersion=gene-condition", "library=learned", "likelihood=nb"], [], True),
    "scvi, poisson, no norm": ("scvi", ["likelihood=poisson", "encoder_norm=none", "decoder_norm=none"], [], True),
    "scvi, one batch": ("scvi", [], None, False),
    "scvi-linear": ("scvi-linear", AS_LINEAR, [], False),
    "scvi-linear, one batch": ("scvi-linear", AS_LINEAR[:2] + ["decoder_norm=none"], None, False),
    "scvi-linear, by default": ("scvi-linear", [], [], True),
    "scvi-linear, batch norm, bias": ("scvi-linear", ["decoder_norm=batch", "linear_bias=true", "encoder_norm=batch"], [], True),
    "scanvi, linear decoder": ("scanvi", ["decoder=linear"], ["--labels", "type"], True),
    "scanvi": ("scanvi", [], ["--labels", "type"], True),
    "scanvi, linear classifier": ("scanvi", ["linear_classifier=true"], ["--labels", "type"], True),
    "totalvi": ("totalvi", [], PROTEINS, True),
    "totalvi, batch norm, covariates": ("totalvi", ["norm=batch", "likelihood=zinb"], COVARIATES + PROTEINS, True),
}


def compared(scgraft, at, model, cells, options):
    """The largest difference of latent means as a share of the largest, and the class."""

    def run(*args):
        done = subprocess.run([scgraft, *args, "--json", "--quiet"], cwd=at, capture_output=True, text=True)
        assert done.returncode == 0, (args, done.stderr)
        return json.loads(done.stdout)

    told = run("export", model, "--to", "scvi-tools", "-o", "as_theirs")
    run("map", model, cells, "-o", "mapped.h5ad", *options)
    adata = anndata.read_h5ad(Path(at) / "mapped.h5ad")
    ours = adata.obsm["X_scgraft"]
    names = {"adata": adata}
    here = os.getcwd()
    os.chdir(at)
    # The lines that the command prints.
    exec("\n".join(told["python"]), names)
    os.chdir(here)
    theirs = names["adata"].obsm["X_scvi"]
    if names["model"].module.latent_distribution == "ln":  # which the package shows as its softmax
        theirs = names["model"].get_latent_representation(return_dist=True)[0]
    return np.abs(ours - theirs).max() / np.abs(ours).max(), told["class"]


def main():
    scgraft = str(Path(sys.argv[1]).resolve())
    print(f"scvi-tools {scvi.__version__}")
    worst = 0.0

    def say(name, result):
        nonlocal worst
        difference, kind = result
        worst = max(worst, difference)
        print(f"{name} ({kind}): {difference:.1e}", flush=True)

    with tempfile.TemporaryDirectory() as at:
        adata = published_models.cells(300, 120, 6, np.random.default_rng(3))
        adata.write_h5ad(Path(at) / "all.h5ad")
        adata[adata.obs.tech != "drop"].copy().write_h5ad(Path(at) / "reference.h5ad")
        adata[adata.obs.tech == "drop"].copy().write_h5ad(Path(at) / "query.h5ad")
        adata[adata.obs.tech == "v2"].copy().write_h5ad(Path(at) / "one.h5ad")
        for name, (kind, settings, options, mapped) in OWN.items():
            small = ["hidden=[16]", "decoder_hidden=[16]"] if kind == "totalvi" else ["hidden=[16,16]"]
            one = options is None
            options = ["--condition-name", "v2"] if one else ["--condition", "tech", *options]
            train = ["train", "one.h5ad" if one else "reference.h5ad", "--model", kind, "--epochs", "3", "-o", "m.scgraft", *options]
            for setting in [*settings, *small, "latent=5"]:
                train += ["--set", setting]
            subprocess.run([scgraft, *train, "--quiet"], cwd=at, check=True)
            proteins = PROTEINS if kind == "totalvi" else []
            named = ["--condition-name", "v2"] if one else []
            if mapped:
                more = ["--epochs", "3", "-o", "q.h5ad", "--save-model", "g.scgraft", *proteins]
                subprocess.run([scgraft, "map", "m.scgraft", "query.h5ad", *more, "--quiet"], cwd=at, check=True)
            cells = "one.h5ad" if one else "all.h5ad" if mapped else "reference.h5ad"
            say(name, compared(scgraft, at, "g.scgraft" if mapped else "m.scgraft", cells, proteins + named))
        for folder in sorted(Path(sys.argv[2]).iterdir()) if len(sys.argv) > 2 else []:
            if not (folder / "model.pt").exists():
                continue
            kind, _, setup = published_models.SCVI_TOOLS[folder.name]
            subprocess.run([scgraft, "import", folder.resolve(), "-o", "m.scgraft", "--quiet"], cwd=at, check=True, capture_output=True)
            options = PROTEINS if kind == "TOTALVI" else []
            if "layer" in setup:
                options = ["--layer", setup["layer"]]
            if "labels_key" in setup and kind == "SCVI":
                options = ["--labels", setup["labels_key"]]
            if "batch_key" not in setup:
                options = ["--condition-name", "reference"]
            size = {"cells": 500, "genes": 200, "proteins": 15}
            adata = published_models.cells(*size.values(), np.random.default_rng(published_models.SEED))
            if folder.name == "scvi_normal":
                adata.X = np.log1p(adata.X)
            adata.write_h5ad(Path(at) / "all.h5ad")
            say(f"imported {folder.name}", compared(scgraft, at, "m.scgraft", "all.h5ad", options))
    print(f"at most {worst:.1e}")
    assert worst < MOST


if __name__ == "__main__":
    main()
