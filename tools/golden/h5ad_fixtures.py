"""Makes the small h5ad files under crates/io/tests/fixtures, with what they hold as JSON beside them.

    python tools/golden/h5ad_fixtures.py crates/io/tests/fixtures

Run once with anndata 0.10, once with 0.12 and once with 0.13 (zarr 3.4): each writes the files of its own version, 0.10
also those that follow the layouts of older and newer versions by hand (h5py), 0.13 also Zarr stores, each as one JSON
file with the name and the content of every file of it. All values are made up here; they are exact in float32.
"""

import base64
import json
import sys
import tempfile
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

VERSION = ".".join(ad.__version__.split(".")[:2])
X = np.array(
    [[0, 3, 0, 0, 1], [2, 0, 0, 5, 0], [0, 0, 0, 0, 0], [7, 0, 1, 0, 0], [0, 0.5, 0, 0, 9], [1, 1, 1, 1, 1]], "float32"
)
CELLS = ["AAAC-1", "AAAG-1", "AACC-1", "Zelle ä", "naïve", "细胞"]
GENES = ["CD3D", "MS4A1", "NKG7", "LYZ", "H2-K1"]
RECORDS = np.rec.fromarrays(
    [np.array(["CD3D", "LYZ"], "O"), np.array(["NKG7", "MS4A1"], "O")], names=["T cell", "B cell"]
)


# --- what a file holds, as plain JSON -------------------------------------------------------------------------------


def number(v):
    return None if v is None or (isinstance(v, float) and np.isnan(v)) else float(v)


def column(s):
    if isinstance(s.dtype, pd.CategoricalDtype):
        return {
            "kind": "categorical",
            "codes": [int(c) for c in s.cat.codes],
            "categories": [str(c) for c in s.cat.categories],
            "ordered": bool(s.cat.ordered),
        }
    if pd.api.types.is_bool_dtype(s.dtype):
        return {"kind": "boolean", "values": [None if pd.isna(v) else bool(v) for v in s]}
    if pd.api.types.is_integer_dtype(s.dtype):
        return {"kind": "integer", "values": [None if pd.isna(v) else int(v) for v in s]}
    if pd.api.types.is_float_dtype(s.dtype):
        return {"kind": "real", "values": [number(float(v)) for v in s]}
    return {"kind": "text", "values": [None if pd.isna(v) else str(v) for v in s]}


def frame(df):
    return {
        "index": [str(i) for i in df.index],
        "index_name": df.index.name,
        "columns": [[str(name), column(df[name])] for name in df.columns],
    }


def dense(m):
    m = m.toarray() if sp.issparse(m) else np.asarray(m)
    return [[float(v) for v in row] for row in m]


def array(a):
    if isinstance(a, pd.DataFrame):
        return {"frame": frame(a)}
    return {"sparse" if sp.issparse(a) else "dense": dense(a)}


def uns(v):
    if v is None:
        return None
    if isinstance(v, dict):
        return {"map": {k: uns(v[k]) for k in sorted(v)}}
    if isinstance(v, pd.DataFrame):
        return {"frame": frame(v)}
    if sp.issparse(v):
        return {"sparse": dense(v)}
    if isinstance(v, (pd.Categorical, pd.api.extensions.ExtensionArray)):
        return {"column": column(pd.Series(v))}
    if isinstance(v, np.ndarray) and v.dtype.names:
        return {"records": [[n, column(pd.Series(v[n]))] for n in v.dtype.names]}
    if isinstance(v, np.ndarray):
        if v.dtype.kind in "OUST":
            return {"texts": [str(t) for t in v]}
        kind = {"i": "ints", "u": "ints", "f": "floats", "b": "bools"}[v.dtype.kind]
        return {kind: v.ravel().tolist(), "shape": list(v.shape)}
    if isinstance(v, (bool, np.bool_)):
        return {"bool": bool(v)}
    if isinstance(v, (int, np.integer)):
        return {"int": int(v)}
    if isinstance(v, (float, np.floating)):
        return {"float": float(v)}
    return {"text": str(v)}


def content(a):
    return {
        "X": None if a.X is None else array(a.X),
        "obs": frame(a.obs),
        "var": frame(a.var),
        # anndata 0.13 counts X among the layers.
        "layers": {k: array(v) for k, v in a.layers.items() if k is not None},
        "obsm": {k: array(v) for k, v in a.obsm.items()},
        "varm": {k: array(v) for k, v in a.varm.items()},
        "obsp": {k: dense(v) for k, v in a.obsp.items()},
        "varp": {k: dense(v) for k, v in a.varp.items()},
        "uns": {k: uns(v) for k, v in sorted(a.uns.items())},
        "raw": None
        if a.raw is None
        else {"X": array(a.raw.X), "var": frame(a.raw.var), "varm": {k: array(v) for k, v in a.raw.varm.items()}},
    }


def save(folder, name, expected, source):
    note = {"made with": f"anndata {ad.__version__}, h5py {h5py.__version__}, HDF5 {h5py.version.hdf5_version}"}
    note["layout"] = source
    (folder / f"{name}.json").write_text(json.dumps({"note": note, "content": expected}, ensure_ascii=False, indent=1))


# --- files written by anndata itself ----------------------------------------------------------------------------------


def tables():
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(["b", "a", "b", "c", "a", "b"], categories=["c", "a", "b"]),
            "stage": pd.Categorical(["E1", "E2", None, "E1", "E3", "E2"], ["E1", "E2", "E3", "E4"], ordered=True),
            "note": ["x", "", "y z", "ü", "x", "nan"],
            "n_counts": np.arange(6, dtype="int32") * 100000,
            "score": [0.5, np.nan, -1.25, 0.0, 2.0, 1e6],
            "maybe": pd.array([1, None, 3, 4, None, -6], dtype="Int64"),
            "flag": [True, False, True, True, False, False],
            "maybe_flag": pd.array([True, None, False, True, None, True], dtype="boolean"),
        },
        index=pd.Index(CELLS, name="barcode"),
    )
    var = pd.DataFrame({"highly_variable": [True, False, True, True, False]}, index=GENES)
    return obs, var


def write(folder, name, a, what, **options):
    name = f"{name}_{VERSION}"
    a.write_h5ad(folder / f"{name}.h5ad", **options)
    save(folder, name, content(a), f"anndata {VERSION}, {what}")
    if VERSION >= "0.13":
        for version in (2, 3):
            with tempfile.TemporaryDirectory() as scratch:
                ad.settings.zarr_write_format = version
                a.write_zarr(Path(scratch) / "a.zarr")
                pack(Path(scratch) / "a.zarr", folder / f"{name}.zarr{version}.json")


def pack(store, to):
    """A folder as one file: texts as they are, other bytes as base64."""
    files = {}
    for path in sorted(p for p in store.rglob("*") if p.is_file()):
        name, data = path.relative_to(store).as_posix(), path.read_bytes()
        described = path.name in (".zgroup", ".zarray", ".zattrs", ".zmetadata", "zarr.json")
        files[name] = {"text": data.decode()} if described else {"base64": base64.b64encode(data).decode()}
    to.write_text(json.dumps(files, indent=0))


def bare(x):
    return ad.AnnData(x, obs=pd.DataFrame(index=CELLS), var=pd.DataFrame(index=GENES))


def modern(folder):
    obs, var = tables()
    write(folder, "tables", ad.AnnData(sp.csr_matrix(X), obs=obs, var=var), "columns of every kind")

    a = bare(sp.csc_matrix(X.astype("float64")))
    # Entries of a row out of order, as scipy allows.
    messy = sp.csr_matrix(X)
    messy.indices[:2], messy.data[:2] = messy.indices[:2][::-1].copy(), messy.data[:2][::-1].copy()
    messy.has_sorted_indices = False
    a.layers["messy"] = messy
    a.layers["double"] = X.astype("float64") / 4
    a.layers["whole"] = (X * 2).astype("int64")
    a.obsm["X_pca"] = np.arange(12, dtype="float64").reshape(6, 2) / 8
    a.obsm["sparse"] = sp.csr_matrix(np.eye(6, 3, dtype="float32"))
    a.varm["PCs"] = np.arange(10, dtype="float32").reshape(5, 2)
    a.obsp["connectivities"] = sp.csr_matrix(np.diag(np.arange(1, 6, dtype="float32"), k=1))
    a.varp["dense"] = np.arange(25, dtype="float32").reshape(5, 5)
    write(folder, "matrices", a, "matrices in every form")

    a = bare(X)
    a.obsm["protein"] = pd.DataFrame({"CD4": np.arange(6, dtype="float32"), "CD8": 1.0}, index=CELLS)
    a.raw = ad.AnnData(
        sp.csr_matrix(np.hstack([X, X[:, :1] * 3])),
        obs=a.obs,
        var=pd.DataFrame({"k": 1}, index=[*GENES, "EXTRA"]),
        varm={"w": np.ones((6, 2), "float32")},
    )
    write(folder, "raw", a, "raw, a table in obsm, gzip", compression="gzip")

    a = bare(None)
    a.uns.update(
        {
            "text": "plain",
            "int": 7,
            "float": 2.5,
            "bool": True,
            "texts": np.array(["p", "q"], "O"),
            "ints": np.arange(6).reshape(2, 3),
            "floats": np.array([0.5, 1.5], "float32"),
            "bools": np.array([True, False]),
            "nested": {"deeper": {"n": 1}, "empty": {}},
            "table": pd.DataFrame({"v": [1.0, 2.0]}, index=["r1", "r2"]),
            "sparse": sp.csr_matrix(np.eye(2, dtype="float32")),
            "categories": pd.Categorical(["u", "v", "u"]),
            "ranked": RECORDS,
        }
    )
    if VERSION >= "0.12":
        a.uns["nothing"] = None
    write(folder, "uns", a, "uns of every kind, no X")


# --- Zarr stores packed in every way --------------------------------------------------------------------------------


def packed(folder):
    """Layers of the same values, each in chunks and packed in another way; some chunks hold nothing and are not there."""
    import numcodecs
    import zarr
    from zarr import codecs

    values = np.zeros((41, 23), "float32")
    values[:30, :14] = np.random.default_rng(5).poisson(2, (30, 14))
    blosc = {f"blosc_{c}_{s}": (c, s) for c in ("blosclz", "lz4", "lz4hc", "zlib", "zstd") for s in (0, 1, 2)}
    with tempfile.TemporaryDirectory() as scratch:
        for version in (2, 3):
            store = Path(scratch) / f"{version}.zarr"
            a = ad.AnnData(values, obs=pd.DataFrame(index=[f"c{i}" for i in range(41)]), var=pd.DataFrame(index=[f"g{i}" for i in range(23)]))
            ad.settings.zarr_write_format = version
            a.write_zarr(store)
            layers = zarr.open_group(store, mode="a")["layers"]

            def add(name, data=values, **options):
                options = {"chunks": (16, 6), **options}
                array = layers.create_array(name, shape=data.shape, dtype=data.dtype, **options)
                array[...] = data
                array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})

            if version == 2:
                for name, (c, s) in blosc.items():
                    # One chunk of more than one block, and elements of several bytes.
                    add(name, np.tile(values, (1, 1)).astype("float64"), chunks=(41, 23), compressors=numcodecs.Blosc(c, 5, s, 4096))
                add("plain", compressors=None)
                add("zstd", compressors=numcodecs.Zstd(3))
                add("gzip", compressors=numcodecs.GZip(3))
                add("zlib", compressors=numcodecs.Zlib(3))
                add("lz4", compressors=numcodecs.LZ4())
                add("columns", order="F")
                add("nested", chunk_key_encoding={"name": "v2", "separator": "/"})
                add("big_endian", values.astype(">f8"))
                add("half", values.astype("float16"))
                add("bytes", values.astype("uint8"), compressors=numcodecs.Blosc("lz4", 5, -1))
                add("filled", values, fill_value=7.0)
            else:
                for c, s in (("lz4", "shuffle"), ("zstd", "bitshuffle"), ("blosclz", "noshuffle"), ("zlib", "shuffle")):
                    add(f"blosc_{c}", compressors=codecs.BloscCodec(cname=c, shuffle=s))
                add("plain", compressors=None)
                add("zstd", compressors=codecs.ZstdCodec(level=3, checksum=True))
                add("gzip", compressors=codecs.GzipCodec(level=3))
                add("checked", compressors=[codecs.GzipCodec(level=1), codecs.Crc32cCodec()])
                add("columns", filters=[codecs.TransposeCodec(order=(1, 0))])
                add("dots", chunk_key_encoding={"name": "default", "separator": "."})
                add("old_names", chunk_key_encoding={"name": "v2", "separator": "."})
                add("big_endian", values.astype("float64"), serializer=codecs.BytesCodec(endian="big"))
                add("half", values.astype("float16"))
                add("shards", chunks=(8, 6), shards=(16, 12))
                add("shards_ahead", chunks=(8, 6), shards={"shape": (24, 12), "index_location": "start"})
                add("shards_of_columns", chunks=(8, 6), shards=(16, 12), filters=[codecs.TransposeCodec(order=(1, 0))])
                add("filled", values, fill_value=7.0)
                add("not_a_number", np.where(values == 0, np.nan, values), fill_value=np.nan)
            pack(store, folder / f"packed.zarr{version}.json")
    (folder / "packed.json").write_text(json.dumps({"values": values.tolist()}))


# --- layouts of other versions, by hand -------------------------------------------------------------------------------

STR = h5py.string_dtype("utf-8")


def write_csr(group, m, **attrs):
    for part in ("data", "indices", "indptr"):
        group.create_dataset(part, data=getattr(m, part))
    group.attrs.update(attrs)


def layout_0_7(folder):
    """Data frames as groups, categories in `__categories` with a reference to them; no encoding of plain arrays."""
    with h5py.File(folder / "layout_0.7.h5ad", "w") as f:
        enc = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": X.shape}
        write_csr(f.create_group("X"), sp.csr_matrix(X), **enc)
        for name, index, index_name in (("obs", CELLS, "index"), ("var", GENES, "_index")):
            g = f.create_group(name)
            columns = ["batch", "n"] if name == "obs" else []
            g.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0", "_index": index_name})
            g.attrs["column-order"] = np.array(columns, dtype=STR) if columns else np.array([], "float64")
            g.create_dataset(index_name, data=np.array(index, dtype="O"), dtype=STR)
        f["obs"].create_dataset("n", data=np.arange(6))
        c = f["obs"].create_group("__categories").create_dataset("batch", data=np.array(["z", "y"], "O"), dtype=STR)
        c.attrs["ordered"] = True
        d = f["obs"].create_dataset("batch", data=np.array([0, 1, -1, 1, 1, 0], "int8"))
        d.attrs["categories"] = c.ref
        f.create_group("layers"), f.create_group("varm"), f.create_group("obsp")
        f.create_group("obsm").create_dataset("X_umap", data=np.arange(12.0).reshape(6, 2))
        u = f.create_group("uns")
        u.create_dataset("title", data="old", dtype=STR)
        u.create_dataset("k", data=15)
        u.create_group("params").create_dataset("metric", data="euclidean", dtype=STR)
    obs = pd.DataFrame(
        {"batch": pd.Categorical.from_codes([0, 1, -1, 1, 1, 0], ["z", "y"], ordered=True), "n": np.arange(6)},
        index=pd.Index(CELLS, name="index"),
    )
    a = ad.AnnData(sp.csr_matrix(X), obs=obs, var=pd.DataFrame(index=GENES))
    a.obsm["X_umap"] = np.arange(12.0).reshape(6, 2)
    a.uns = {"title": "old", "k": 15, "params": {"metric": "euclidean"}}
    save(folder, "layout_0.7", content(a), "anndata 0.7, by hand")


def layout_0_6(folder):
    """Tables and obsm as datasets of records, categories in uns, sparse matrices with `h5sparse` attributes."""
    cells, genes = [f"cell{i}" for i in range(6)], [g.encode() for g in GENES]
    with h5py.File(folder / "layout_0.6.h5ad", "w") as f:
        write_csr(f.create_group("X"), sp.csr_matrix(X), h5sparse_format="csr", h5sparse_shape=X.shape)
        obs = np.zeros(6, dtype=[("index", "S8"), ("group", "i1"), ("n", "<i8"), ("f", "<f4"), ("ok", "?")])
        obs["index"], obs["group"], obs["n"], obs["f"] = cells, [1, 0, 1, -1, 0, 1], range(6), np.arange(6) / 4
        obs["ok"] = [1, 0, 0, 1, 1, 0]
        f.create_dataset("obs", data=obs)
        f.create_dataset("var", data=np.array(list(zip(genes)), dtype=[("index", "S8")]))
        obsm = np.zeros(6, dtype=[("X_pca", "<f4", (3,)), ("X_umap", "<f8", (2,))])
        obsm["X_pca"], obsm["X_umap"] = np.arange(18).reshape(6, 3), np.arange(12).reshape(6, 2) / 2
        f.create_dataset("obsm", data=obsm)
        u = f.create_group("uns")
        u.create_dataset("group_categories", data=np.array([b"one", b"two"]))
        u.create_dataset("method", data=np.array([b"wilcoxon"]))
        u.create_dataset("ranked", data=RECORDS.astype([("T cell", STR), ("B cell", STR)]))
        write_csr(f.create_group("raw.X"), sp.csr_matrix(X), h5sparse_format="csr", h5sparse_shape=X.shape)
        f.create_dataset("raw.var", data=np.array(list(zip(genes)), dtype=[("index", "S8")]))
    table = pd.DataFrame(
        {
            "group": pd.Categorical.from_codes([1, 0, 1, -1, 0, 1], ["one", "two"]),
            "n": np.arange(6),
            "f": np.arange(6) / 4,
            "ok": [True, False, False, True, True, False],
        },
        index=pd.Index(cells, name="index"),
    )
    var = pd.DataFrame(index=pd.Index(GENES, name="index"))
    a = ad.AnnData(sp.csr_matrix(X), obs=table, var=var)
    a.raw = a
    a.obsm["X_pca"], a.obsm["X_umap"] = np.arange(18.0).reshape(6, 3), np.arange(12).reshape(6, 2) / 2
    a.uns = {"method": "wilcoxon", "ranked": RECORDS}
    save(folder, "layout_0.6", content(a), "anndata 0.6, by hand")


def encode(o, kind, version):
    o.attrs["encoding-type"], o.attrs["encoding-version"] = kind, version


def layout_0_13(folder):
    """Nullable strings, also as names of rows; None in uns."""

    def nullable(parent, name, texts):
        g = parent.create_group(name)
        encode(g, "nullable-string-array", "0.1.0")
        v = g.create_dataset("values", data=np.array([t or "" for t in texts], "O"), dtype=STR)
        encode(v, "string-array", "0.2.0")
        encode(g.create_dataset("mask", data=np.array([t is None for t in texts])), "array", "0.2.0")

    note = ["a", None, "c", "", None, "ö"]
    with h5py.File(folder / "layout_0.13.h5ad", "w") as f:
        encode(f, "anndata", "0.1.0")
        encode(f.create_dataset("X", data=X), "array", "0.2.0")
        for name, index in (("obs", CELLS), ("var", GENES)):
            g = f.create_group(name)
            encode(g, "dataframe", "0.2.0")
            g.attrs["_index"] = "_index"
            g.attrs["column-order"] = np.array(["note"] if name == "obs" else [], dtype=STR)
            nullable(g, "_index", index)
        nullable(f["obs"], "note", note)
        for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
            encode(f.create_group(name), "dict", "0.1.0")
        encode(f["uns"].create_dataset("nothing", data=h5py.Empty("f")), "null", "0.1.0")
    a = ad.AnnData(X, obs=pd.DataFrame({"note": pd.array(note, "string")}, index=CELLS), var=pd.DataFrame(index=GENES))
    a.uns["nothing"] = None
    save(folder, "layout_0.13", content(a), "anndata 0.13, by hand")


def odd(folder):
    """A layer in Blosc, a complex array, an unknown encoding, an unknown slot."""
    a = ad.AnnData(X, obs=pd.DataFrame({"batch": ["a"] * 6}, index=CELLS), var=pd.DataFrame(index=GENES))
    a.write_h5ad(folder / "odd.h5ad")
    with h5py.File(folder / "odd.h5ad", "a") as f:
        f["uns"].create_dataset("complex", data=np.array([1 + 2j]))
        g = f["obsm"].create_group("ragged")
        encode(g, "awkward-array", "0.1.0")
        f.create_group("spare").create_dataset("x", data=1)
        dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        dcpl.set_chunk((6, 5))
        dcpl.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (2, 2, 4, 120, 5, 1, 0))
        d = h5py.h5d.create(
            f["layers"].id, b"packed", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((6, 5)), dcpl=dcpl
        )
        d.write_direct_chunk((0, 0), b"\x02\x01\x21\x04" + bytes(60), 0)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    modern(folder)
    if VERSION >= "0.13":
        packed(folder)
    if VERSION == "0.10":
        layout_0_6(folder)
        layout_0_7(folder)
        layout_0_13(folder)
        odd(folder)


if __name__ == "__main__":
    main()
