"""What the scripts of the peers' models share. Import it before numpy and torch, which read the number of threads when
they load."""

import argparse
import importlib.metadata
import json
import os
import sys
import warnings
from pathlib import Path

# Of the reference, as `cargo xtask mapping` has it.
HELD_OUT = 10


def parser(doc, data="folder of the data files", seed=0):
    """With what every script takes."""
    made = argparse.ArgumentParser(description=doc.split("\n")[0])
    made.add_argument("data", type=Path, help=data)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--seed", type=int, default=seed)
    made.add_argument("--verbose", action="store_true", help="show the peer's own output")
    return made


def parse(made):
    """The arguments; numpy and torch that load later use so many threads, and what the peer prints does not reach
    standard output, where only JSON is wanted."""
    args = made.parse_args()
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(args.threads)
    warnings.filterwarnings("ignore")
    sys.stdout = sys.stderr if args.verbose else open(os.devnull, "w")
    return args


def origin(args, peer):
    """Whose figures they are, and under what load."""
    import torch

    return {
        "peer": peer,
        "versions": {p: importlib.metadata.version(p) for p in (peer, "torch", "numpy", "anndata")},
        "threads": torch.get_num_threads(),
        # Times taken while others use the machine are no comparison.
        "load_average_at_start": os.getloadavg()[0],
        "seed": args.seed,
    }


def counts(path, genes=None):
    """Cells with their counts as float32; of `genes`, in that order."""
    import anndata
    import numpy as np

    adata = anndata.read_h5ad(path)
    if genes is not None:
        adata = adata[:, genes].copy()
    adata.X = adata.X.astype(np.float32)
    return adata


def genes_of(path, wanted):
    """The genes of a file that are wanted, in its order."""
    import anndata

    return [gene for gene in anndata.read_h5ad(path, backed="r").var_names if gene in wanted]


def programs(path):
    """Name and genes of each line of a GMT file; a name may stand twice."""
    lines = [line.rstrip("\n").split("\t") for line in path.read_text().splitlines() if line]
    return [(line[0], line[2:]) for line in lines]


def mask_of(lists, genes):
    """Programs × genes: 1 where a gene is in a program."""
    import numpy as np

    position = {gene: i for i, gene in enumerate(genes)}
    mask = np.zeros((len(lists), len(genes)), dtype=np.float32)
    for row, members in enumerate(lists):
        mask[row, [position[gene] for gene in members if gene in position]] = 1
    return mask


def label_report(reference, reference_latent, query, query_latent):
    """Accuracy of labels transferred to the query's cells of known `truth`, over all and by type."""
    import label_accuracy

    known = query.obs["truth"].notna().to_numpy()
    truth = query.obs["truth"].to_numpy(dtype=str)[known]
    labels = reference.obs["cell_type"].to_numpy(dtype=str)
    found, _ = label_accuracy.transfer(reference_latent, labels, query_latent[known], 15, "paper")
    accuracy, by_type, _ = label_accuracy.accuracy(truth, found)
    return {"label_accuracy": accuracy, "label_accuracy_by_type": by_type}


def tell(report):
    json.dump(report, sys.__stdout__, indent=1)
    sys.__stdout__.write("\n")
