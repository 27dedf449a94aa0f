"""scvi-tools' scVI or scANVI on a reference and a query: times, losses, label accuracy.

The peer side of `cargo xtask mapping`, which writes FOLDER/reference.h5ad (obs: study, cell_type) and
FOLDER/query.h5ad (obs: study, truth); needs the packages of requirements-current.txt.

    python tools/peers/scvi_tools.py FOLDER --model scanvi --epochs 100 --query-epochs 100 --threads 1

Every tenth cell of the reference is held out. Settings are those published for reference mapping (two layers of
128, layer norm, covariates in the encoder, 10 latent dimensions, ZINB), surgery without dropout and weight decay.
scANVI starts from the scVI and trains for `--label-epochs` more; the query is unlabelled. Prints one JSON object.
"""

import time

import common


def arguments():
    parser = common.parser(__doc__, data="folder of the two files")
    parser.add_argument("--model", choices=["scvi", "scanvi"], default="scvi")
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--label-epochs", type=int, default=10)
    parser.add_argument("--query-epochs", type=int, default=200)
    return common.parse(parser)


args = arguments()

import numpy as np  # noqa: E402
import scvi  # noqa: E402
import torch  # noqa: E402

import label_accuracy  # noqa: E402

torch.set_num_threads(args.threads)

UNLABELLED = "unlabelled"


def train(model, epochs, weight_decay):
    """Train on all cells and say how long an epoch took."""
    scvi.settings.seed = args.seed
    start = time.perf_counter()
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
    reference, query = common.counts(args.data / "reference.h5ad"), common.counts(args.data / "query.h5ad")
    reference.obs["label"] = reference.obs["cell_type"].astype(str)
    query.obs["label"] = UNLABELLED
    held = np.arange(reference.n_obs) % common.HELD_OUT == 0

    scvi.settings.seed = args.seed
    trained = prepare(reference[~held])
    scvi.model.SCVI.setup_anndata(trained, batch_key="study")
    model = scvi.model.SCVI(
        trained, n_layers=2, encode_covariates=True, deeply_inject_covariates=False,
        use_layer_norm="both", use_batch_norm="none",
    )
    report = {
        **common.origin(args, "scvi-tools"),
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

    report |= common.label_report(reference, reference_latent, query, query_latent)
    if args.model == "scanvi":
        known = query.obs["truth"].notna().to_numpy()
        truth = query.obs["truth"].to_numpy(dtype=str)[known]
        predicted = np.asarray(mapped.predict(mapped_cells))[known]
        report["predicted_accuracy"] = label_accuracy.accuracy(truth, predicted)[0]
    common.tell(report)


if __name__ == "__main__":
    main()
