"""Peak memory of training from an AnnData in memory, beside the command line on the same file.

    python tools/memory/python_beside_command_line.py target/release/scgraft FOLDER [CELLS] [SECONDS]

Writes FOLDER/cells.h5ad (CELLS cells, 2,000 genes, about 190 counts a cell, 4 batches; kept from one run to the next), then
trains scvi for one epoch in a process of its own each way, and prints the peak of resident memory (VmHWM), of Python also
what it was with the AnnData read and nothing trained. With SECONDS a run is ended so long after it began: preparation is over
then, and what an epoch needs is allocated in its first steps.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time

GENES, DRAWN, BATCHES = 2_000, 200, 4


def simulate(path: pathlib.Path, cells: int) -> None:
    import anndata
    import numpy as np
    import pandas as pd
    from scipy import sparse

    rng = np.random.default_rng(0)
    indices, starts = [], [np.zeros(1, dtype=np.int64)]
    for first in range(0, cells, 50_000):
        n = min(50_000, cells - first)
        drawn = np.sort(rng.integers(0, GENES, (n, DRAWN), dtype=np.int32), axis=1)
        kept = np.ones(drawn.shape, dtype=bool)
        kept[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
        indices.append(drawn[kept])
        starts.append(kept.sum(axis=1).cumsum() + starts[-1][-1])
    indices, starts = np.concatenate(indices), np.concatenate(starts)
    data = rng.integers(1, 5, len(indices)).astype(np.float32)
    x = sparse.csr_matrix((data, indices, starts), shape=(cells, GENES))
    batch = pd.Categorical.from_codes(np.arange(cells) % BATCHES, [f"batch_{i}" for i in range(BATCHES)])
    obs = pd.DataFrame({"batch": batch}, index=[f"c{i}" for i in range(cells)])
    anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(GENES)])).write_h5ad(path)


def peak(pid: int) -> int:
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def watched(command: list[str], seconds: float) -> tuple[int, float, list[str]]:
    """Peak in KiB, seconds, and the lines that the process printed."""
    began, most = time.monotonic(), 0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while process.poll() is None:
        most = max(most, peak(process.pid))
        if time.monotonic() - began > seconds:
            process.kill()
            break
        time.sleep(0.05)
    told = process.communicate()[0].splitlines()
    return most, time.monotonic() - began, told


def train(path: str) -> None:
    """The part that is watched: read, say how much memory that took, train."""
    import os

    import anndata

    import scgraft as sg

    adata = anndata.read_h5ad(path)
    resident = pathlib.Path("/proc/self/statm").read_text().split()[1]
    print("read", int(resident) * os.sysconf("SC_PAGE_SIZE") // 1024, peak(os.getpid()), flush=True)
    sg.train(adata, model="scvi", batch_key="batch", n_top_genes=None, max_epochs=1, progress=False)
    print("trained", flush=True)


def main() -> None:
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    cells = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else float("inf")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cells.h5ad"
    if not path.exists():
        simulate(path, cells)
    mib = 1024.0
    command, took, _ = watched(
        [program, "train", str(path), "--model", "scvi", "--condition", "batch", "--all-genes", "--epochs", "1",
         "--no-checkpoint", "--quiet", "-o", str(folder / "m.scgraft")], seconds,
    )  # fmt: skip
    print(f"command line: peak {command / mib:,.0f} MiB ({took:.0f} s)", flush=True)
    python, took, told = watched([sys.executable, __file__, "--train", str(path)], seconds)
    words = next(line for line in told if line.startswith("read")).split()
    alone = int(words[1])
    whole = "whole epoch" if "trained" in told else "ended within the epoch"
    print(f"Python: peak {python / mib:,.0f} MiB, of which {alone / mib:,.0f} with the AnnData read ({took:.0f} s, {whole})")
    print(f"beyond the AnnData {(python - alone) / mib:,.0f} MiB, {(python - alone) / command:.2f} of the command line's peak")


if __name__ == "__main__":
    train(sys.argv[2]) if sys.argv[1:2] == ["--train"] else main()
