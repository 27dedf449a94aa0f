"""Label-transfer accuracy on the IFN-β query's control cells of known types, from a saved latent.

    python tools/peers/label_accuracy.py latent.npz
    python tools/peers/label_accuracy.py --reference ref.h5ad --query query.h5ad --key X_scgraft

The .npz is what the scripts of this folder save (reference_latent, reference_label,
query_latent, query_label, query_condition); the .h5ad files hold the embedding in
`obsm`, the labels in `obs["cell_type"]` and the query's `obs["condition"]`. Needs numpy
and scikit-learn (and anndata for .h5ad). Prints one JSON object.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from sklearn.neighbors import NearestNeighbors

# The query's labels in the reference's words; types that are not here have no
# counterpart and are left out of the accuracy.
SAME_TYPE = {
    "CD14 Mono": "CD14+ Monocytes",
    "CD4 Naive T": "CD4 T",
    "CD4 Memory T": "CD4 T",
    "CD16 Mono": "FCGR3A+ Monocytes",
    "B": "B",
    "B Activated": "B",
    "CD8 T": "CD8 T",
    "NK": "NK",
    "DC": "DC",
    "Mk": "Megakaryocytes",
}


def transfer(reference, label, query, k, spread):
    """Label and uncertainty of every query cell, from its k nearest reference cells.

    Weight exp(−d/(2/s)²), s = √(Σd²/k) (`paper`) or the centred standard deviation
    (`scarches`); the label with the largest normalised weight sum.
    """
    d, index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(reference).kneighbors(query)
    s = np.sqrt((d**2).mean(1)) if spread == "paper" else d.std(1)
    # Shifted by the nearest distance against underflow; cancels in the sum.
    with np.errstate(divide="ignore"):
        scale = ((2 / s) ** 2)[:, None]
    weight = np.exp(-(d - d[:, :1]) / scale)
    weight /= weight.sum(1, keepdims=True)
    kinds, code = np.unique(label, return_inverse=True)
    share = np.zeros((len(query), len(kinds)))
    np.add.at(share, (np.arange(len(query))[:, None], code[index]), weight)
    return kinds[share.argmax(1)], 1 - share.max(1)


def accuracy(truth, predicted):
    """Share of cells that are right, and the mean over types of that share."""
    right = truth == predicted
    by_type = {kind: float(right[truth == kind].mean()) for kind in np.unique(truth)}
    return float(right.mean()), float(np.mean(list(by_type.values()))), by_type


def load(args):
    if args.latent:
        saved = np.load(args.latent)
        return [
            saved[key]
            for key in (
                "reference_latent", "reference_label",
                "query_latent", "query_label", "query_condition",
            )
        ]
    import anndata

    reference, query = anndata.read_h5ad(args.reference), anndata.read_h5ad(args.query)
    return [
        np.asarray(reference.obsm[args.key]),
        reference.obs["cell_type"].to_numpy(dtype=str),
        np.asarray(query.obsm[args.key]),
        query.obs["cell_type"].to_numpy(dtype=str),
        query.obs["condition"].to_numpy(dtype=str),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("latent", nargs="?", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--query", type=Path)
    parser.add_argument("--key", default="X_scgraft")
    parser.add_argument("--k", type=int, default=15)
    parser.add_argument("--spread", choices=["paper", "scarches"], default="paper")
    args = parser.parse_args()
    if not args.latent and not (args.reference and args.query):
        parser.error("give a .npz, or --reference and --query")

    reference, label, query, query_label, condition = load(args)
    report = {"k": args.k, "spread": args.spread, "programs": int(reference.shape[1])}
    for group in ("control", "stimulated"):
        known = np.array([kind in SAME_TYPE for kind in query_label]) & (condition == group)
        truth = np.array([SAME_TYPE[kind] for kind in query_label[known]])
        predicted, uncertainty = transfer(reference, label, query[known], args.k, args.spread)
        overall, macro, by_type = accuracy(truth, predicted)
        report[group] = {
            "cells": int(known.sum()),
            "accuracy": overall,
            "macro_accuracy": macro,
            "by_type": by_type,
            "share_unknown": float((uncertainty > 0.5).mean()),
        }
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
