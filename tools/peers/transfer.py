"""Label transfer of scArches beside ours: seconds of its search and of its loop over cells, and labels that agree.

    python tools/peers/transfer.py simulate 10000 100000 arrays.safetensors
    python tools/peers/transfer.py run arrays.safetensors [--k 50] [--cells 20000] [--ours ours.u32]

`simulate` draws a reference and a query of the given sizes from the simulation of metrics.py. `run` times
`weighted_knn_trainer` and `weighted_knn_transfer` on the first `--cells` query cells: the search for all of them, the
loop over cells (which takes the same time for every cell) extrapolated to all; with one and with five label columns,
categorical as in an AnnData that was read from a file. One line each: name, seconds. With `--ours`, the share of cells
whose label is ours (uint32 codes, written by the `measure` example).

Needs scarches 0.6.1 and safetensors (requirements-scarches.txt).
"""

import argparse
import time

import numpy as np
from safetensors.numpy import load_file, save_file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("simulate")
    p.add_argument("reference", type=int)
    p.add_argument("query", type=int)
    p.add_argument("out")
    p = commands.add_parser("run")
    p.add_argument("arrays")
    p.add_argument("--k", type=int, default=50)
    p.add_argument("--cells", type=int, default=20_000)
    p.add_argument("--ours")
    a = parser.parse_args()
    if a.command == "simulate":
        from metrics import simulate

        all_cells = simulate(a.reference + a.query)
        n = a.reference
        save_file(
            {
                "x": all_cells["x"][:n].copy(),
                "types": all_cells["types"][:n].copy(),
                "query": all_cells["x"][n:].copy(),
            },
            a.out,
        )
    else:
        run(load_file(a.arrays), a.k, a.cells, a.ours)


def run(arrays, k, cells, ours):
    import anndata
    import pandas as pd
    from scarches.utils.knn import weighted_knn_trainer, weighted_knn_transfer

    x, query = arrays["x"], arrays["query"]
    names = np.array([f"type {t}" for t in arrays["types"]])
    obs = pd.DataFrame({"cell_type": pd.Categorical(names)}, index=[str(i) for i in range(len(x))])
    reference = anndata.AnnData(np.zeros((len(x), 1), np.float32), obs=obs, obsm={"X": x})
    part = anndata.AnnData(np.zeros((cells, 1), np.float32), obsm={"X_latent": query[:cells]})
    reference.obsm["X_latent"] = x
    model = weighted_knn_trainer(reference, "X_latent", n_neighbors=k)
    start = time.perf_counter()
    model.kneighbors(query)
    search = time.perf_counter() - start
    start = time.perf_counter()
    model.kneighbors(query[:cells])
    search_part = time.perf_counter() - start
    print(f"\nsearch\t{search:.3f}\t\t")
    for columns, said in [(1, "1 column"), (5, "5 columns")]:
        # Columns are named by what they begin with.
        for level in range(1, columns):
            reference.obs[f"cell_type_{level}"] = reference.obs["cell_type"]
        start = time.perf_counter()
        labels, _ = weighted_knn_transfer(part, "X_latent", reference.obs, "cell_type", model)
        loop = (time.perf_counter() - start - search_part) * len(query) / cells
        print(f"\nloop over cells, {said}\t{loop:.3f}\t\t\nall, {said}\t{search + loop:.3f}\t\t")
    if ours:
        codes = np.fromfile(ours, np.uint32)[:cells]
        own = np.array([f"type {c}" for c in codes])
        print(f"labels that agree\t\t\t{np.mean(own == labels['cell_type'].to_numpy()):.5f}")


if __name__ == "__main__":
    main()
