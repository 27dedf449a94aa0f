"""scvi-tools' scVI or scANVI on a reference and a query: times, losses, label accuracy.

The peer side of `cargo xtask mapping`, which writes FOLDER/reference.h5ad (obs: study, cell_type) and
FOLDER/query.h5ad (obs: study, truth); needs the packages of requirements-current.txt.

    python tools/peers/scvi_tools.py FOLDER --model scanvi --epochs 100 --query-epochs 100 --threads 1

Every tenth cell of the reference is held out. Settings are those published for reference mapping (two layers of
128, layer norm, covariates in the encoder, 10 latent dimensions, ZINB), surgery without dropout and weight decay.
scANVI starts from the scVI and trains for `--label-epochs` more; the query is unlabelled. Prints one JSON object.
"""

import argparse
import contextlib
import importlib.metadata
import json
import logging
import os
import sys
import time
from pathlib import Path


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the two files")
    parser.add_argument("--model", choices=["scvi", "scanvi"], default="scvi")
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--label-epochs", type=int, default=10)
    parser.add_argument("--query-epochs", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


args = arguments()
# Before numpy and torch read it.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(args.threads)

import warnings  # noqa: E402

import anndata  # noqa: E402
import numpy as np  # noqa: E402
import scvi  # noqa: E402
import torch  # noqa: E402

import label_accuracy  # noqa: E402

warnings.filterwarnings("ignore")
torch.set_num_threads(args.threads)
# Its notes go to standard output, where only JSON is wanted.
scvi.settings.verbosity = logging.ERROR
HELD_OUT = 10
UNLABELLED = "unlabelled"


def read(name):
    """The counts as float32 CSR, with obs."""
    adata = anndata.read_h5ad(args.data / name)
    adata.X = adata.X.astype(np.float32)
    return adata


def train(model, epochs, weight_decay):
    """Train on all cells and say how long an epoch took."""
    scvi.settings.seed = args.seed
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        model.train(
            max_epochs=epochs, train_size=1.0, batch_size=128, accelerator="cpu", devices=1,
            plan_kwargs={"weight_decay": weight_decay}, enable_progress_bar=False, logger=False,
            enable_checkpointing=False,
        )
    seconds = time.perf_counter() - start
    return {"epochs": epochs, "seconds": seconds, "seconds_per_epoch": seconds / epochs}


@torch.inference_mode()
def reconstruction(model, adata):
    """Mean over cells of −ln p(x | z) at the posterior mean."""
    module = model.module.eval()
    adata = model._validate_anndata(adata)
    total = 0.0
    for tensors in model._make_data_loader(adata=adata, batch_size=256, shuffle=False):
        inputs = module._get_inference_input(tensors)
        inference = module.inference(**inputs)
        inference["z"] = inference["qz"].loc
        generative = module.generative(**module._get_generative_input(tensors, inference))
        total -= float(generative["px"].log_prob(tensors["X"]).sum())
    return total / adata.n_obs


def prepare(adata):
    """A copy that scvi-tools knows."""
    adata = adata.copy()
    if args.model == "scanvi":
        adata.obs["label"] = adata.obs["label"].astype(str)
    return adata


def main():
    reference, query = read("reference.h5ad"), read("query.h5ad")
    reference.obs["label"] = reference.obs["cell_type"].astype(str)
    query.obs["label"] = UNLABELLED
    held = np.arange(reference.n_obs) % HELD_OUT == 0

    scvi.settings.seed = args.seed
    trained = prepare(reference[~held])
    scvi.model.SCVI.setup_anndata(trained, batch_key="study")
    model = scvi.model.SCVI(
        trained, n_layers=2, encode_covariates=True, deeply_inject_covariates=False,
        use_layer_norm="both", use_batch_norm="none",
    )
    report = {
        "peer": "scvi-tools",
        "versions": {
            package: importlib.metadata.version(package)
            for package in ("scvi-tools", "torch", "numpy", "anndata")
        },
        "threads": torch.get_num_threads(),
        "load_average_at_start": os.getloadavg()[0],
        "seed": args.seed,
        "cells": int((~held).sum()),
        "query_cells": query.n_obs,
        "genes": reference.n_vars,
        "reference": train(model, args.epochs, 1e-6),
    }
    if args.model == "scanvi":
        model = scvi.model.SCANVI.from_scvi_model(
            model, unlabeled_category=UNLABELLED, labels_key="label"
        )
        report["labels"] = train(model, args.label_epochs, 1e-6)
    report["held_out_reconstruction"] = reconstruction(model, prepare(reference[held]))

    scvi.settings.seed = args.seed
    mapped_cells = prepare(query)
    mapped = type(model).load_query_data(mapped_cells, model, freeze_dropout=True)
    report["surgery"] = train(mapped, args.query_epochs, 0.0)
    report["query_reconstruction"] = reconstruction(mapped, mapped_cells)

    start = time.perf_counter()
    reference_latent = mapped.get_latent_representation(prepare(reference))
    query_latent = mapped.get_latent_representation(mapped_cells)
    report["latent_seconds"] = time.perf_counter() - start

    known = query.obs["truth"].notna().to_numpy()
    truth = query.obs["truth"].to_numpy(dtype=str)[known]
    labels = reference.obs["cell_type"].to_numpy(dtype=str)
    found, _ = label_accuracy.transfer(reference_latent, labels, query_latent[known], 15, "paper")
    accuracy, by_type, _ = label_accuracy.accuracy(truth, found)
    report["label_accuracy"], report["label_accuracy_by_type"] = accuracy, by_type
    if args.model == "scanvi":
        predicted = np.asarray(mapped.predict(mapped_cells))[known]
        report["predicted_accuracy"] = label_accuracy.accuracy(truth, predicted)[0]
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
