"""Makes small HDF5 files with links, and such as claim more than they hold, under crates/io/tests/fixtures.

    python tools/golden/odd_hdf5.py crates/io/tests/fixtures

Run with h5py 3.16 (HDF5 2.0) and anndata 0.12.
"""

import ctypes
import struct
import sys
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

OUT = Path(sys.argv[1])
# The library that h5py's wheel has loaded.
HDF5 = ctypes.CDLL(str(next((Path(h5py.__file__).parents[1] / "h5py.libs").glob("libhdf5-*"))))
X = np.array([[0, 3, 0, 1], [2, 0, 5, 0], [1, 1, 1, 1]], "float32")


def cells(name):
    table = pd.DataFrame({"kind": pd.Categorical(["a", "b", "a"])}, index=["c1", "c2", "c3"])
    a = ad.AnnData(sp.csr_matrix(X), obs=table, var=pd.DataFrame(index=["g1", "g2", "g3", "g4"]))
    a.write_h5ad(OUT / name)
    return h5py.File(OUT / name, "r+")


# Groups of the old format: symbol tables. A link to a group that holds a link, a link by a relative path, one that
# leads nowhere, a circle, values without a dataspace.
with cells("links_old.h5ad") as f:
    f["layers"]["there"] = f["X"]
    f["layers"].move("there", "counts")
    del f["X"]
    f["X"] = h5py.SoftLink("/layers/counts")
    f["layers"]["again"] = h5py.SoftLink("counts")
    f["obs"].move("kind", "type")
    f["obs"]["kind"] = h5py.SoftLink("/obs/type")
    f["uns"]["nowhere"] = h5py.SoftLink("/nothing")
    f["uns"]["circle"] = h5py.SoftLink("/uns/circle")
    f["uns"]["nothing"] = h5py.Empty("f8")

# Groups of the new format: a few links in the header of the group, many in a heap.
with cells("links_new.h5ad") as f:
    f["layers"]["other"] = h5py.ExternalLink("other.h5ad", "/X")
    f["layers"]["same"] = h5py.SoftLink("/X")
    for i in range(10):
        f["uns"][f"value{i}"] = i
    f["uns"]["far"] = h5py.ExternalLink("other.h5ad", "/uns/far")
    f["uns"]["near"] = h5py.SoftLink("/uns/value3")

# Every value is within what one dataset may claim; all together are not.
with cells("claims_many.h5ad") as f:
    for i in range(40):
        f["uns"].create_dataset(f"v{i}", (1 << 20,), "f8", chunks=(1 << 16,), compression="gzip")

# A matrix by column with a row for everybody on earth.
with cells("claims_rows.h5ad") as f:
    g = f["uns"].create_group("m")
    g.attrs.update({"encoding-type": "csc_matrix", "encoding-version": "0.1.0", "shape": np.array([120_000_000, 1])})
    g["data"], g["indices"], g["indptr"] = np.zeros(0, "f4"), np.zeros(0, "i4"), np.zeros(2, "i4")

# A chunk of 4 GB, as the index of chunks says.
with h5py.File(OUT / "claims_chunk.loom", "w") as f:
    f.create_dataset("matrix", data=np.ones((4, 3), "f4"), chunks=(4, 3), compression="gzip")
    f["row_attrs/Gene"], f["col_attrs/CellID"] = [b"a", b"b", b"c", b"d"], [b"x", b"y", b"z"]
    size = f["matrix"].id.get_chunk_info(0).size
data = bytearray((OUT / "claims_chunk.loom").read_bytes())
at = data.index(struct.pack("<IIQQ", size, 0, 0, 0))
data[at : at + 4] = struct.pack("<I", 0xFFFF0000)
(OUT / "claims_chunk.loom").write_bytes(data)

# What only the newest HDF5 has.
for name, options in [("newest_layout.h5ad", {"compression": "gzip"}), ("newest_index.h5ad", {"maxshape": (None, None)})]:
    with cells("newest.h5ad") as old, h5py.File(OUT / name, "w", libver="latest") as f:
        for key in old:
            if key != "X":
                old.copy(key, f)
        f.create_dataset("X", data=X, chunks=(2, 2), **options)

# Layers of the same values with every index of chunks, trees of two levels and edges that are not packed among them; many
# columns, whose links take a table of blocks. Version 1.14 has the same indices in another layout.
for name, version in [("newest_chunks.h5ad", "latest"), ("newest_chunks_1.14.h5ad", ("v114", "v114"))]:
    values = (np.arange(31 * 20).reshape(31, 20) % 7).astype("float32")
    table = pd.DataFrame({f"column{i}": np.arange(31) + i for i in range(30)}, index=[f"c{i}" for i in range(31)])
    ad.AnnData(values, obs=table, var=pd.DataFrame(index=[f"g{i}" for i in range(20)])).write_h5ad(OUT / "newest.h5ad")
    with h5py.File(OUT / "newest.h5ad") as old, h5py.File(OUT / name, "w", libver=version) as f:
        for key in old:
            old.copy(key, f)
        more = (None, None)
        for layer, options in {
            "tree": {"chunks": (7, 6), "maxshape": more},
            "tree_packed": {"chunks": (7, 6), "maxshape": more, "compression": "gzip", "shuffle": True},
            "tree_of_two_levels": {"chunks": (3, 2), "maxshape": more, "compression": "lzf"},
            "fixed": {"chunks": (7, 6), "compression": "gzip"},
            "fixed_in_pages": {"chunks": (1, 1), "maxshape": (31, 60), "fletcher32": True},
            "growing": {"chunks": (7, 6), "maxshape": (None, 20), "compression": "gzip"},
            "growing_across": {"chunks": (7, 6), "maxshape": (31, None), "compression": "gzip"},
            "one": {"chunks": (31, 20), "compression": "gzip"},
        }.items():
            f.create_dataset(f"layers/{layer}", data=values, **options)
        dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        dcpl.set_chunk((7, 6))
        dcpl.set_deflate(4)
        # h5py does not know H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS.
        assert HDF5.H5Pset_chunk_opts(ctypes.c_int64(dcpl.id), ctypes.c_uint(2)) == 0
        space = h5py.h5s.create_simple((31, 20), (h5py.h5s.UNLIMITED,) * 2)
        d = h5py.h5d.create(f["layers"].id, b"tree_with_bare_edges", h5py.h5t.IEEE_F32LE, space, dcpl=dcpl)
        d.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
        # Of its chunks some are not there.
        d = f.create_dataset("layers/hardly_any", (31, 20), "f4", chunks=(7, 6), maxshape=more, compression="gzip")
        d[8, 13] = 5
        f.create_dataset("layers/none_at_all", (31, 20), "f4", chunks=(7, 6), maxshape=more, compression="gzip")

# Values that stand in another file.
with cells("newest.h5ad") as old, h5py.File(OUT / "virtual.h5ad", "w", libver="latest") as f:
    for key in old:
        if key != "X":
            old.copy(key, f)
    layout = h5py.VirtualLayout(shape=X.shape, dtype="f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "values", shape=X.shape)
    f.create_virtual_dataset("X", layout)
(OUT / "newest.h5ad").unlink()

# Types that no slot of `Cells` has, and groups that AnnData does not know.
def kept():
    r = np.random.default_rng(0)
    n, g = 6, 4
    obs = pd.DataFrame({"half": np.arange(n, dtype="f4") / 3, "small": np.arange(n, dtype="u1")}, index=[f"c{i}" for i in range(n)])
    obs["kind"] = pd.Categorical(["a", "b", "a", None, "b", "a"])
    obs["gaps"] = [1.5, np.nan, 2.5, np.nan, 0.1, 7]
    var = pd.DataFrame({"rank": np.arange(g, dtype="i2")}, index=[f"g{i}" for i in range(g)])
    a = ad.AnnData(sp.csr_matrix(r.poisson(1, (n, g)).astype("f4")), obs=obs, var=var)
    a.layers["counts"] = a.X.astype("i4").tocsc()
    a.layers["precise"] = r.normal(size=(n, g))
    a.obsm["X_pca"] = r.normal(size=(n, 3))
    a.obsm["three"] = r.normal(size=(n, 3, 2))
    a.obsm["large"] = np.full((n, 2), 2**63 + 5, dtype="u8")
    a.obsm["complex"] = (r.normal(size=(n, 2)) + 1j).astype("c16")
    a.obsp["near"] = sp.random(n, n, 0.4, format="csr", random_state=1)
    a.uns["short"] = np.arange(6, dtype="u2").reshape(2, 3)
    a.uns["nested"] = {"single": np.float32(0.1), "texts": ["x", "y"]}
    a.uns["ranked"] = np.rec.fromarrays([["a", "b"], [1.0, 2.0]], names="n,v")
    a.raw = a.copy()
    a.write_h5ad(OUT / "kept.h5ad", compression="gzip")
    with h5py.File(OUT / "kept.h5ad", "a") as f:
        f["other_program/table"] = np.arange(3)
        f["uns/largest"] = np.uint64(2**64 - 1)
        f["uns/wave"] = np.array([1 + 2j])
        factor = f.create_group("obs/factor")
        factor["levels"] = np.array([b"u", b"v"])
        factor["values"] = np.array([1, 2, 1, 1, 2, 2], dtype="i4")
        order = list(f["obs"].attrs["column-order"]) + ["factor"]
        del f["obs"].attrs["column-order"]
        f["obs"].attrs["column-order"] = np.array(order, dtype=h5py.string_dtype())


kept()

# References to regions, which no copy can carry over.
with cells("regions.h5ad") as f:
    where = f.create_dataset("uns/where", (1,), dtype=h5py.regionref_dtype)
    where[0] = f["obs/kind/codes"].regionref[:2]

# The same beside a soft link, which the library does not read.
with cells("regions_links.h5ad") as f:
    where = f.create_dataset("uns/where", (1,), dtype=h5py.regionref_dtype)
    where[0] = f["obs/kind/codes"].regionref[:2]
    f["layers/again"] = h5py.SoftLink("/X")

# And before 1.25 GiB of numbers, which end the file and are left away here.
with cells("regions_large.h5ad") as f:
    where = f.create_dataset("uns/where", (1,), dtype=h5py.regionref_dtype)
    where[0] = f["obs/kind/codes"].regionref[:2]
    f["layers/again"] = h5py.SoftLink("/X")
    f.create_group("other")
with h5py.File(OUT / "regions_large.h5ad", "r+") as f:
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple((5 << 26,))
    start = h5py.h5d.create(f["other"].id, b"numbers", h5py.h5t.IEEE_F32LE, space, early).get_offset()
assert (OUT / "regions_large.h5ad").stat().st_size == start + (5 << 28)
with open(OUT / "regions_large.h5ad", "r+b") as f:
    f.truncate(start)

# Groups that hold themselves: at once, through two soft links, from far below.
with cells("back_hard.h5ad") as f:
    f["uns/loop"] = f["uns"]
with cells("back_soft.h5ad") as f:
    f["uns/a/b"] = h5py.SoftLink("/obsm")
    f["obsm/c"] = h5py.SoftLink("/uns/a")
with cells("back_root.h5ad") as f:
    f["uns/deep/er/up"] = h5py.SoftLink("/")
