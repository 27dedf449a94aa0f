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

import sys
from pathlib import Path

import common


def arguments():
    parser = common.parser(__doc__, seed=2020)
    parser.add_argument("--reference", type=Path, required=True, help="the trained reference; made if missing")
    parser.add_argument("--epochs", type=int, default=400, help="reference epochs at most")
    parser.add_argument("--query-epochs", type=int, default=400, help="surgery epochs")
    parser.add_argument("--free", type=int, default=3, help="free programs")
    parser.add_argument("--surgery-seeds", default="2020", help="one run each")
    parser.add_argument("--save-latent", type=Path, help="write the query's latent means to FOLDER/SEED.npz")
    return common.parse(parser)


args = arguments()

import numpy as np  # noqa: E402
import scarches  # noqa: E402
import torch  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402

torch.set_num_threads(args.threads)

INTERFERON = ("REACTOME_INTERFERON_ALPHA_BETA_SIGNALING", "REACTOME_INTERFERON_SIGNALING")
B_RECEPTOR = "REACTOME_SIGNALING_BY_THE_B_CELL_RECEPTOR_BCR"
DENIED = (
    "INTERFERON",
    "CYTOKINE_SIGNALING_IN_IMMUNE_SYSTEM",
    "B_CELL_RECEPTOR",
    "MHC_CLASS_II_ANTIGEN_PRESENTATION",
)


def kept_programs(sets):
    """Those that the reference gets."""
    interferon = [set(genes) for name, genes in sets if name in INTERFERON]
    return [
        genes
        for name, genes in sets
        if not any(part in name for part in DENIED) and not any(i <= set(genes) for i in interferon)
    ]


def train(model, epochs, seed, **settings):
    torch.manual_seed(seed)
    np.random.seed(seed)
    model.train(n_epochs=epochs, alpha_epoch_anneal=100, weight_decay=0.0, seed=seed, **settings)
    return len(model.trainer.logs["epoch_loss"])


def reference_of(cells, mask):
    """The reference, trained or read."""
    if (args.reference / "model_params.pt").exists():
        return scarches.models.EXPIMAP.load(str(args.reference), cells)
    torch.manual_seed(args.seed)
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
    sets = common.programs(args.data / "expimap_ref_model_fig3_mask.gmt")
    kept = kept_programs(sets)
    path = args.data / "pbmc_reference_merged.h5ad"
    genes = common.genes_of(path, set().union(*(members for _, members in sets)))
    cells = common.counts(path, genes)
    cells = cells[cells.obs["cell_type"] != "B"].copy()
    query = common.counts(args.data / "kang_ifnb_2800.h5ad", genes)
    query.obs["study"] = "Kang"
    reference = reference_of(cells, common.mask_of(kept, genes))
    mask = common.mask_of([dict(sets)[B_RECEPTOR]], genes)
    runs = []
    for seed in map(int, args.surgery_seeds.split(",")):
        runs.append(surgery(reference, query, mask, seed))
        found = {new["program"]: round(new["b_cells"], 3) for new in runs[-1]["new"]}
        print(f"surgery seed {seed}: AUROC of B cells {found}", file=sys.stderr)
    report = {
        **common.origin(args, "scarches"),
        "cells": cells.n_obs,
        "query_cells": query.n_obs,
        "genes": len(genes),
        "programs": len(kept),
        "active_programs": int(reference.nonzero_terms().sum()),
        "free": args.free,
        "runs": runs,
    }
    common.tell(report)


if __name__ == "__main__":
    main()
