"""What the golden scripts share: the file writer, the simulated counts, provenance.

A golden file is one safetensors file. Numbers that came out of a model are
float64; counts, codes and flags are int32, noise is float32. Scenario settings and the versions of the
packages that made the numbers are in the `__metadata__` of its header.
"""

import importlib.metadata
import json
import struct
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[2] / "crates" / "models" / "tests" / "golden"

DTYPES = {
    np.dtype("float64"): "F64",
    np.dtype("float32"): "F32",
    np.dtype("int32"): "I32",
}


def as_array(value):
    """A C-ordered numpy array of a torch tensor, an array or a number."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    value = np.array(value, order="C", copy=True)
    if value.dtype in (np.dtype("int64"), np.dtype("bool")):
        value = value.astype(np.int32)
    return value


def write(name, tensors, settings, packages, script):
    """Write `name`.safetensors; wider types first, so that every tensor is aligned."""
    header = {
        "__metadata__": {
            "scenario": name,
            "script": f"tools/golden/{script}",
            "settings": json.dumps(settings, sort_keys=True),
            "versions": json.dumps(
                {p: importlib.metadata.version(p) for p in packages}, sort_keys=True
            ),
        }
    }
    blob = bytearray()
    arrays = {key: as_array(value) for key, value in tensors.items()}
    for key in sorted(arrays, key=lambda k: (-arrays[k].dtype.itemsize, k)):
        array = arrays[key]
        data = array.tobytes()
        header[key] = {
            "dtype": DTYPES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [len(blob), len(blob) + len(data)],
        }
        blob += data
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.safetensors"
    path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(blob))
    print(f"{path.name}: {path.stat().st_size} bytes, {len(tensors)} tensors")


def counts(rng, cells, genes, conditions):
    """Negative binomial counts with about 60 % zeros and a condition code per cell.

    Cell depth varies by a factor of about five, every condition has a gene
    effect of its own, and codes are not sorted.
    """
    codes = rng.permutation(np.arange(cells) % conditions)
    level = rng.gamma(0.6, 2.0, size=genes)
    effect = np.exp(0.5 * rng.standard_normal((conditions, genes)))
    depth = rng.uniform(0.4, 2.0, size=(cells, 1))
    mean = depth * level * effect[codes]
    x = rng.poisson(mean * rng.gamma(1.5, 1 / 1.5, size=mean.shape))
    return x.astype(np.int32), codes.astype(np.int32)


def membership(rng, programs, genes):
    """A random program × gene 0/1 table: overlapping, no empty row, no gene
    in every program, some genes in none."""
    table = (rng.random((programs, genes)) < 0.25).astype(np.int32)
    for row in range(programs):
        table[row, rng.choice(genes, size=4, replace=False)] = 1
    table[1] |= table[0]
    table[:, genes - 2 :] = 0
    return table
