"""scArches' expiMap on the PBMC reference and the IFN-β query: times, losses, latent means.

The peer side of the benchmark; needs the packages of requirements-scarches.txt.

    python tools/peers/expimap.py DATA --epochs 5 --query-epochs 5 --threads 1

DATA holds pbmc_reference_merged.h5ad, kang_ifnb_2800.h5ad and
expimap_ref_model_fig3_mask.gmt. Settings are the published ones: hidden 256×3,
NB, alpha 0.7, alpha_kl 0.5 (query 0.1), annealed over 100 epochs, weight decay 0,
early stopping on the unweighted validation loss (patience 50; query 20).
Prints one JSON object.
"""

import time
from pathlib import Path

import common


def arguments():
    parser = common.parser(__doc__, seed=2020)
    parser.add_argument("--epochs", type=int, default=400, help="reference epochs at most")
    parser.add_argument("--query-epochs", type=int, default=400, help="surgery epochs at most")
    parser.add_argument("--no-early-stopping", action="store_true")
    parser.add_argument("--save-latent", type=Path, help="write the latent means to this .npz")
    return common.parse(parser)


args = arguments()

import numpy as np  # noqa: E402
import scarches  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(args.threads)


def train(model, epochs, **settings):
    """Train and say how long an epoch took and how it ended."""
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
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
    sets = common.programs(args.data / "expimap_ref_model_fig3_mask.gmt")
    names, lists = [name for name, _ in sets], [members for _, members in sets]
    path = args.data / "pbmc_reference_merged.h5ad"
    genes = common.genes_of(path, set().union(*lists))
    reference = common.counts(path, genes)
    query = common.counts(args.data / "kang_ifnb_2800.h5ad", genes)
    query.obs["study"] = "Kang"

    torch.manual_seed(args.seed)
    model = scarches.models.EXPIMAP(
        adata=reference,
        condition_key="study",
        hidden_layer_sizes=[256, 256, 256],
        recon_loss="nb",
        mask=common.mask_of(lists, genes),
    )
    report = {
        **common.origin(args, "scarches"),
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
    common.tell(report)


if __name__ == "__main__":
    main()
