"""scArches' expiMap on the PBMC reference and the IFN-β query: times, losses, latent means.

The peer side of the benchmark; needs the packages of requirements-scarches.txt.

    python tools/peers/expimap.py DATA --epochs 5 --query-epochs 5 --threads 1

DATA holds pbmc_reference_merged.h5ad, kang_ifnb_2800.h5ad and
expimap_ref_model_fig3_mask.gmt. Settings are the published ones: hidden 256×3,
NB, alpha 0.7, alpha_kl 0.5 (query 0.1), annealed over 100 epochs, weight decay 0,
early stopping on the unweighted validation loss (patience 50; query 20).
Prints one JSON object.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the data files")
    parser.add_argument("--epochs", type=int, default=400, help="reference epochs at most")
    parser.add_argument("--query-epochs", type=int, default=400, help="surgery epochs at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=2020)
    parser.add_argument("--no-early-stopping", action="store_true")
    parser.add_argument("--save-latent", type=Path, help="write the latent means to this .npz")
    parser.add_argument("--verbose", action="store_true", help="show scArches' own output")
    return parser.parse_args()


args = arguments()
# Before numpy and torch read it.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(args.threads)

import warnings  # noqa: E402

import anndata  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

warnings.filterwarnings("ignore")
torch.set_num_threads(args.threads)


@contextlib.contextmanager
def hushed():
    """scArches prints a progress bar an epoch; JSON is all we want on stdout."""
    target = sys.stderr if args.verbose else io.StringIO()
    with contextlib.redirect_stdout(target):
        yield


with hushed(), contextlib.redirect_stderr(sys.stderr if args.verbose else io.StringIO()):
    import importlib.metadata

    import scarches


def programs(path):
    """Names and gene lists of a GMT file."""
    lines = [line.rstrip("\n").split("\t") for line in path.read_text().splitlines() if line]
    return [line[0] for line in lines], [line[2:] for line in lines]


def read(path, genes, study=None):
    """The counts of `genes`, in that order, as float32 CSR."""
    adata = anndata.read_h5ad(path)
    adata = adata[:, genes].copy()
    adata.X = adata.X.astype(np.float32)
    if study is not None:
        adata.obs["study"] = study
    return adata


def train(model, epochs, **settings):
    """Train and say how long an epoch took and how it ended."""
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    with hushed():
        model.train(
            n_epochs=epochs,
            alpha_epoch_anneal=100,
            weight_decay=0.0,
            use_early_stopping=not args.no_early_stopping,
            seed=args.seed,
            **settings,
        )
    logs = model.trainer.logs
    done = len(logs["epoch_loss"])
    return {
        "epochs": done,
        "seconds": model.trainer.training_time,
        "seconds_per_epoch": model.trainer.training_time / done,
        "losses": {key: float(values[-1]) for key, values in sorted(logs.items())},
        "best_validation_unweighted_loss": float(np.min(logs["val_unweighted_loss"])),
    }


def timed(work):
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def main():
    names, lists = programs(args.data / "expimap_ref_model_fig3_mask.gmt")
    wanted = set().union(*lists)
    available = anndata.read_h5ad(
        args.data / "pbmc_reference_merged.h5ad", backed="r"
    ).var_names
    genes = [gene for gene in available if gene in wanted]
    reference = read(args.data / "pbmc_reference_merged.h5ad", genes)
    query = read(args.data / "kang_ifnb_2800.h5ad", genes, study="Kang")
    position = {gene: i for i, gene in enumerate(genes)}
    mask = np.zeros((len(names), len(genes)), dtype=np.float32)
    for row, members in enumerate(lists):
        mask[row, [position[gene] for gene in members if gene in position]] = 1

    torch.manual_seed(args.seed)
    with hushed():
        model = scarches.models.EXPIMAP(
            adata=reference,
            condition_key="study",
            hidden_layer_sizes=[256, 256, 256],
            recon_loss="nb",
            mask=mask,
        )
    report = {
        "peer": "scarches",
        "versions": {
            package: importlib.metadata.version(package)
            for package in ("scarches", "torch", "numpy", "anndata")
        },
        "threads": torch.get_num_threads(),
        # Times taken while others use the machine are no comparison.
        "load_average_at_start": os.getloadavg()[0],
        "seed": args.seed,
        "cells": reference.n_obs,
        "query_cells": query.n_obs,
        "genes": len(genes),
        "programs": len(names),
    }
    report["reference"] = train(
        model,
        args.epochs,
        alpha=0.7,
        alpha_kl=0.5,
        early_stopping_kwargs={
            "early_stopping_metric": "val_unweighted_loss",
            "threshold": 0,
            "patience": 50,
            "reduce_lr": True,
            "lr_patience": 13,
            "lr_factor": 0.1,
        },
    )
    report["reference"]["active_programs"] = int(model.nonzero_terms().sum())

    torch.manual_seed(args.seed)
    with hushed():
        mapped = scarches.models.EXPIMAP.load_query_data(query, model)
    report["surgery"] = train(mapped, args.query_epochs, alpha_kl=0.1)

    def latent(of):
        return mapped.get_latent(of.X, of.obs["study"], mean=True)

    torch.manual_seed(args.seed)
    reference_latent, seconds = timed(lambda: latent(reference))
    report["latent_seconds_reference"] = seconds
    query_latent, seconds = timed(lambda: latent(query))
    report["latent_seconds_query"] = seconds

    np.random.seed(args.seed)
    with hushed():
        mapped.latent_directions(adata=query)
        _, seconds = timed(
            lambda: mapped.latent_enrich("condition", use_directions=True, adata=query)
        )
    report["test_seconds"] = seconds
    report["test"] = {}
    for group, scores in query.uns["bf_scores"].items():
        order = np.argsort(-np.abs(scores["bf"]))[:10]
        report["test"][str(group)] = [
            {"program": names[i], "log_bayes_factor": float(scores["bf"][i])} for i in order
        ]
    if args.save_latent:
        np.savez_compressed(
            args.save_latent,
            reference_latent=reference_latent,
            reference_label=reference.obs["cell_type"].to_numpy(dtype=str),
            reference_batch=reference.obs["study"].to_numpy(dtype=str),
            query_latent=query_latent,
            query_label=query.obs["cell_type"].to_numpy(dtype=str),
            query_condition=query.obs["condition"].to_numpy(dtype=str),
            programs=np.array(names),
            directions=query.uns["directions"],
        )
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
