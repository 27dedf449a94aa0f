"""scArches' expiMap with new programs: does a constrained one find the B cells that the reference lacked?

The peer side of `cargo xtask quality --only-new-programs`; needs the packages of requirements-scarches.txt.

    python tools/peers/expimap_new_programs.py DATA --reference FOLDER --free 3 --surgery-seeds 2020,2021

DATA holds pbmc_reference_merged.h5ad, kang_ifnb_2800.h5ad and
expimap_ref_model_fig3_mask.gmt. The reference has no B cells, no interferon
programs nor what contains one whole, no cytokine signalling and none of the
two B-cell programs; it is trained once and kept in FOLDER. Settings are the
published ones: reference as in expimap.py; query alpha_kl 0.1, 400 epochs
without early stopping, one constrained program with a soft mask (alpha_l1 0.9),
free ones (gamma_ext 0.7 annealed over 50 epochs, HSIC one against all, beta 3).
Prints one JSON object.
"""

import argparse
import contextlib
import io
import json
import os
import sys
from pathlib import Path


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the data files")
    parser.add_argument("--reference", type=Path, required=True, help="the trained reference; made if missing")
    parser.add_argument("--epochs", type=int, default=400, help="reference epochs at most")
    parser.add_argument("--query-epochs", type=int, default=400, help="surgery epochs")
    parser.add_argument("--free", type=int, default=3, help="free programs")
    parser.add_argument("--seed", type=int, default=2020, help="of the reference")
    parser.add_argument("--surgery-seeds", default="2020", help="one run each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-latent", type=Path, help="write the query's latent means to FOLDER/SEED.npz")
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
from sklearn.metrics import roc_auc_score  # noqa: E402

warnings.filterwarnings("ignore")
torch.set_num_threads(args.threads)


@contextlib.contextmanager
def hushed():
    """scArches prints a progress bar an epoch; JSON is all we want on stdout."""
    target = sys.stderr if args.verbose else io.StringIO()
    with contextlib.redirect_stdout(target):
        yield


with hushed(), contextlib.redirect_stderr(sys.stderr if args.verbose else io.StringIO()):
    import scarches

INTERFERON = ("REACTOME_INTERFERON_ALPHA_BETA_SIGNALING", "REACTOME_INTERFERON_SIGNALING")
B_RECEPTOR = "REACTOME_SIGNALING_BY_THE_B_CELL_RECEPTOR_BCR"
DENIED = (
    "INTERFERON",
    "CYTOKINE_SIGNALING_IN_IMMUNE_SYSTEM",
    "B_CELL_RECEPTOR",
    "MHC_CLASS_II_ANTIGEN_PRESENTATION",
)


def programs(path):
    """Names and gene lists of a GMT file; a name may stand twice."""
    lines = [line.rstrip("\n").split("\t") for line in path.read_text().splitlines() if line]
    return [(line[0], line[2:]) for line in lines]


def kept_programs(sets):
    """Those that the reference gets."""
    interferon = [set(genes) for name, genes in sets if name in INTERFERON]
    return [
        genes
        for name, genes in sets
        if not any(part in name for part in DENIED) and not any(i <= set(genes) for i in interferon)
    ]


def read(path, genes):
    """The counts of `genes`, in that order, as float32 CSR."""
    adata = anndata.read_h5ad(path)[:, genes].copy()
    adata.X = adata.X.astype(np.float32)
    return adata


def mask_of(lists, genes):
    position = {gene: i for i, gene in enumerate(genes)}
    mask = np.zeros((len(lists), len(genes)), dtype=np.float32)
    for row, members in enumerate(lists):
        mask[row, [position[gene] for gene in members if gene in position]] = 1
    return mask


def train(model, epochs, seed, **settings):
    torch.manual_seed(seed)
    np.random.seed(seed)
    with hushed():
        model.train(n_epochs=epochs, alpha_epoch_anneal=100, weight_decay=0.0, seed=seed, **settings)
    return len(model.trainer.logs["epoch_loss"])


def reference_of(cells, mask):
    """The reference, trained or read."""
    if (args.reference / "model_params.pt").exists():
        with hushed():
            return scarches.models.EXPIMAP.load(str(args.reference), cells)
    torch.manual_seed(args.seed)
    with hushed():
        model = scarches.models.EXPIMAP(
            adata=cells, condition_key="study", hidden_layer_sizes=[256, 256, 256], recon_loss="nb", mask=mask
        )
    stopping = {
        "early_stopping_metric": "val_unweighted_loss",
        "threshold": 0,
        "patience": 50,
        "reduce_lr": True,
        "lr_patience": 13,
        "lr_factor": 0.1,
    }
    epochs = train(
        model, args.epochs, args.seed, alpha=0.7, alpha_kl=0.5, use_early_stopping=True, early_stopping_kwargs=stopping
    )
    print(f"reference: {epochs} epochs", file=sys.stderr)
    model.save(str(args.reference), overwrite=True)
    return model


def separation(scores, group):
    a = roc_auc_score(group, scores)
    return float(max(a, 1 - a))


def surgery(reference, query, mask, seed):
    """Grafts the query on and reads the new programs."""
    torch.manual_seed(seed)
    with hushed():
        model = scarches.models.EXPIMAP.load_query_data(
            query,
            reference,
            new_n_ext=args.free,
            new_n_ext_m=1,
            new_ext_mask=mask.tolist(),
            new_soft_ext_mask=True,
            use_hsic=args.free > 0,
            hsic_one_vs_all=True,
        )
    train(
        model,
        args.query_epochs,
        seed,
        alpha_kl=0.1,
        use_early_stopping=False,
        alpha_l1=0.9,
        gamma_ext=0.7,
        gamma_epoch_anneal=50,
        beta=3,
    )
    mean, variance = model.get_latent(query.X, query.obs["study"], mean_var=True)
    if args.save_latent:
        args.save_latent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            args.save_latent / f"{seed}.npz",
            mean=mean,
            variance=variance,
            label=query.obs["cell_type"].to_numpy(dtype=str),
            condition=query.obs["condition"].to_numpy(dtype=str),
        )
    b = query.obs["cell_type"].str.startswith("B").to_numpy()
    stimulated = (query.obs["condition"] == "stimulated").to_numpy()
    kl = 0.5 * (mean**2 + variance - 1 - np.log(variance)).mean(0)
    new = range(model.latent_dim_, mean.shape[1])
    names = [B_RECEPTOR] + [f"free_{i + 1}" for i in range(args.free)]
    w = model.model.decoder.L0.ext_L_m.weight.data.numpy()[:, 0]
    inside = mask[0] > 0
    ranked = np.argsort(-np.abs(w))
    genes = np.array(query.var_names)
    return {
        "seed": seed,
        "new": [
            {
                "program": name,
                "b_cells": separation(mean[:, j], b),
                "b_cells_of_control": separation(mean[~stimulated, j], b[~stimulated]),
                "stimulated": separation(mean[:, j], stimulated),
                "kl": float(kl[j]),
            }
            for name, j in zip(names, new)
        ],
        "best_old_program_for_b_cells": max(separation(mean[:, j], b) for j in range(model.latent_dim_)),
        "constrained": {
            "nonzero_in_mask": int((w[inside] != 0).sum()),
            "mask": int(inside.sum()),
            "nonzero_out_of_mask": int((w[~inside] != 0).sum()),
            "positive_in_mask": int((w[inside] > 0).sum()),
            "norm_in_mask": float(np.linalg.norm(w[inside])),
            "norm_out_of_mask": float(np.linalg.norm(w[~inside])),
            "genes": [f"{genes[i]}{'' if inside[i] else '*'} {w[i]:+.3f}" for i in ranked[:30] if w[i] != 0],
        },
    }


def main():
    sets = programs(args.data / "expimap_ref_model_fig3_mask.gmt")
    wanted = set().union(*(members for _, members in sets))
    kept = kept_programs(sets)
    path = args.data / "pbmc_reference_merged.h5ad"
    genes = [gene for gene in anndata.read_h5ad(path, backed="r").var_names if gene in wanted]
    cells = read(path, genes)
    cells = cells[cells.obs["cell_type"] != "B"].copy()
    query = read(args.data / "kang_ifnb_2800.h5ad", genes)
    query.obs["study"] = "Kang"
    reference = reference_of(cells, mask_of(kept, genes))
    mask = mask_of([dict(sets)[B_RECEPTOR]], genes)
    runs = [surgery(reference, query, mask, int(seed)) for seed in args.surgery_seeds.split(",")]
    report = {
        "peer": "scarches",
        "cells": cells.n_obs,
        "query_cells": query.n_obs,
        "genes": len(genes),
        "programs": len(kept),
        "active_programs": int(reference.nonzero_terms().sum()),
        "free": args.free,
        "runs": runs,
    }
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
