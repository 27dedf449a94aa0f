"""scArches' trVAE (or CVAE) on a reference and a query: times, losses, label accuracy.

The peer side of `cargo xtask mapping`, which writes FOLDER/reference.h5ad (obs: study, cell_type) and
FOLDER/query.h5ad (obs: study, truth); needs the packages of requirements-scarches.txt.

    python tools/peers/trvae.py FOLDER --epochs 100 --query-epochs 100 --threads 1

Every tenth cell of the reference is held out. Settings are scArches' defaults (hidden 256-64,
10 latent dimensions, NB, MMD weight 1 on z, KL weight 1 without annealing), without weight
decay and early stopping. Prints one JSON object.
"""

import time

import common


def arguments():
    parser = common.parser(__doc__, data="folder of the two files", seed=2020)
    parser.add_argument("--model", choices=["trvae", "cvae"], default="trvae")
    parser.add_argument("--mmd-on", choices=["z", "y"], default="z")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--query-epochs", type=int, default=100)
    return common.parse(parser)


args = arguments()

import numpy as np  # noqa: E402
import scarches  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(args.threads)


def train(model, epochs):
    """Train and say how long an epoch took."""
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    model.train(
        n_epochs=epochs, lr=1e-3, eps=0.01, weight_decay=0.0, alpha_kl=1.0, train_frac=1.0,
        use_early_stopping=False, seed=args.seed,
    )
    logs = model.trainer.logs
    seconds = model.trainer.training_time
    return {
        "epochs": epochs,
        "seconds": seconds,
        "seconds_per_epoch": seconds / epochs,
        "losses": {key: float(values[-1]) for key, values in sorted(logs.items())},
    }


def reconstruction(model, adata):
    """Mean over cells of −ln p(x | z) at the posterior mean."""
    module = model.model
    module.eval()
    # scArches samples; a sample at its mean is what both sides can compare.
    sampling, module.sampling = module.sampling, lambda mean, log_variance: mean
    code = {name: i for i, name in enumerate(model.conditions_)}
    batch = torch.tensor([code[s] for s in adata.obs["study"]])
    total = 0.0
    with torch.no_grad():
        for start in range(0, adata.n_obs, 128):
            rows = slice(start, start + 128)
            x = torch.tensor(adata.X[rows].toarray())
            recon = module(
                x=x, batch=batch[rows], sizefactor=x.sum(1), labeled=torch.zeros(len(x))
            )[0]
            total += float(recon) * len(x)
    module.sampling = sampling
    return total / adata.n_obs


def main():
    reference, query = common.counts(args.data / "reference.h5ad"), common.counts(args.data / "query.h5ad")
    held = np.arange(reference.n_obs) % common.HELD_OUT == 0

    torch.manual_seed(args.seed)
    model = scarches.models.TRVAE(
        adata=reference[~held].copy(),
        condition_key="study",
        conditions=sorted(reference.obs["study"].unique()),
        use_mmd=args.model == "trvae",
        mmd_on=args.mmd_on,
    )
    report = {
        **common.origin(args, "scarches"),
        "cells": int((~held).sum()),
        "query_cells": query.n_obs,
        "genes": reference.n_vars,
        "reference": train(model, args.epochs),
        "held_out_reconstruction": reconstruction(model, reference[held]),
    }
    torch.manual_seed(args.seed)
    mapped = scarches.models.TRVAE.load_query_data(query, model)
    report["surgery"] = train(mapped, args.query_epochs)
    report["query_reconstruction"] = reconstruction(mapped, query)

    start = time.perf_counter()
    reference_latent = mapped.get_latent(reference.X, reference.obs["study"], mean=True)
    query_latent = mapped.get_latent(query.X, query.obs["study"], mean=True)
    report["latent_seconds"] = time.perf_counter() - start

    report |= common.label_report(reference, reference_latent, query, query_latent)
    common.tell(report)


if __name__ == "__main__":
    main()
