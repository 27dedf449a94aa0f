"""Makes small files of the other formats under crates/io/tests/fixtures, with what they hold as JSON beside them.

    python tools/golden/other_formats.py crates/io/tests/fixtures

10x files follow Cell Ranger's documented layouts, loom and h5mu their specifications, by hand with h5py. All
values are made up here.
"""

import gzip
import json
import sys
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from h5ad_fixtures import content

# Cells × features: four genes, of which two share a symbol, two antibodies, one guide.
COUNTS = np.array([[0, 3, 0, 1, 50, 2, 0], [2, 0, 0, 5, 7, 0, 1], [0, 0, 9, 0, 0, 31, 0]], "float32")
BARCODES = ["AAAC-1", "AAAG-1", "AACC-1"]
IDS = ["ENSG1", "ENSG2", "ENSG3", "ENSG4", "CD3", "CD19", "guide1"]
NAMES = ["CD3D", "HSPA14", "HSPA14", "LYZ", "CD3_TotalSeqB", "CD19_TotalSeqB", "guide1"]
KINDS = ["Gene Expression"] * 4 + ["Antibody Capture"] * 2 + ["CRISPR Guide Capture"]
UNIQUE = ["CD3D", "HSPA14", "HSPA14-1", "LYZ"]


def expected(n_features, kinds, genome):
    var = pd.DataFrame({"gene_ids": IDS[:4]}, index=UNIQUE)
    if kinds:
        var["feature_types"] = pd.Categorical(KINDS[:4])
    if genome:
        var["genome"] = pd.Categorical([genome] * 4)
    a = ad.AnnData(sp.csr_matrix(COUNTS[:, :4]), obs=pd.DataFrame(index=BARCODES), var=var)
    if n_features > 4:
        proteins = pd.DataFrame(COUNTS[:, 4:6].astype("float64"), index=BARCODES, columns=NAMES[4:6])
        a.obsm["protein_expression"] = proteins
    return content(a)


def save(folder, name, what, layout):
    note = {"made with": f"h5py {h5py.__version__}", "layout": layout}
    (folder / f"{name}.json").write_text(json.dumps({"note": note, "content": what}, ensure_ascii=False, indent=1))


def put_matrix(group, n):
    by_feature = sp.csc_matrix(COUNTS[:, :n].T.astype("int32"))
    for part, kind in (("data", "int32"), ("indices", "int64"), ("indptr", "int64")):
        group.create_dataset(part, data=getattr(by_feature, part).astype(kind), compression="gzip")
    group.create_dataset("shape", data=np.array(by_feature.shape, "int32"))
    group.create_dataset("barcodes", data=np.array(BARCODES, "S18"))


def tenx(folder):
    with h5py.File(folder / "tenx_v3.h5", "w") as f:
        g = f.create_group("matrix")
        put_matrix(g, 7)
        features = g.create_group("features")
        for name, values in (("id", IDS), ("name", NAMES), ("feature_type", KINDS), ("genome", ["GRCh38"] * 7)):
            features.create_dataset(name, data=np.array(values, "S"))
        features.create_dataset("_all_tag_keys", data=np.array([b"genome"]))
    save(folder, "tenx_v3", expected(7, True, "GRCh38"), "Cell Ranger 3, by hand")
    with h5py.File(folder / "tenx_v2.h5", "w") as f:
        g = f.create_group("hg19")
        put_matrix(g, 4)
        g.create_dataset("genes", data=np.array(IDS[:4], "S"))
        g.create_dataset("gene_names", data=np.array(NAMES[:4], "S"))
    save(folder, "tenx_v2", expected(4, False, "hg19"), "Cell Ranger 2, by hand")


def mtx_text(n):
    m = sp.coo_matrix(COUNTS[:, :n].T)
    rows = [f"{i + 1} {j + 1} {int(v)}" for i, j, v in zip(m.row, m.col, m.data)]
    head = ["%%MatrixMarket matrix coordinate integer general", '%metadata_json: {"format_version": 2}']
    return "\n".join([*head, f"{n} {len(BARCODES)} {m.nnz}", *rows]) + "\n"


def mtx(folder):
    new, old = folder / "tenx_mtx_v3", folder / "tenx_mtx_v2"
    new.mkdir(exist_ok=True), old.mkdir(exist_ok=True)
    rows = "".join(f"{i}\t{n}\t{k}\n" for i, n, k in zip(IDS, NAMES, KINDS))
    files = {"matrix.mtx": mtx_text(7), "features.tsv": rows, "barcodes.tsv": "\n".join(BARCODES) + "\n"}
    for name, text in files.items():
        (new / f"{name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    save(folder, "tenx_mtx_v3", expected(7, True, None), "Cell Ranger 3 folder, by hand")
    rows = "".join(f"{i}\t{n}\n" for i, n in zip(IDS[:4], NAMES))
    files = {"matrix.mtx": mtx_text(4), "genes.tsv": rows, "barcodes.tsv": "\n".join(BARCODES) + "\n"}
    for name, text in files.items():
        (old / name).write_text(text)
    save(folder, "tenx_mtx_v2", expected(4, False, None), "Cell Ranger 2 folder, by hand")


def loom(folder):
    with h5py.File(folder / "small.loom", "w") as f:
        x = COUNTS[:, :4].T
        f.create_dataset("matrix", data=x, chunks=(2, 2), compression="gzip")
        f.create_group("layers").create_dataset("spliced", data=x * 2)
        f.create_group("row_attrs").create_dataset("Gene", data=np.array(NAMES[:4], "S"))
        f["row_attrs"].create_dataset("length", data=np.array([1.5, 2.5, 3.5, 4.5]))
        f.create_group("col_attrs").create_dataset("CellID", data=np.array(BARCODES, "O"), dtype=h5py.string_dtype())
        f["col_attrs"].create_dataset("cluster", data=np.array([0, 1, 1]))
        f["col_attrs"].create_dataset("tsne", data=np.arange(6.0).reshape(3, 2))
        f.create_group("row_graphs"), f.create_group("col_graphs")
    a = ad.AnnData(
        sp.csr_matrix(COUNTS[:, :4]),
        obs=pd.DataFrame({"cluster": [0, 1, 1]}, index=pd.Index(BARCODES, name="CellID")),
        var=pd.DataFrame({"length": [1.5, 2.5, 3.5, 4.5]}, index=pd.Index(UNIQUE, name="Gene")),
        layers={"spliced": sp.csr_matrix(COUNTS[:, :4] * 2)},
        obsm={"tsne": np.arange(6.0).reshape(3, 2)},
    )
    save(folder, "small_loom", content(a), "loom, by hand")


def h5mu(folder):
    obs = pd.DataFrame({"n": [1, 2, 3]}, index=BARCODES)
    rna = ad.AnnData(sp.csr_matrix(COUNTS[:, :4]), obs=obs, var=pd.DataFrame(index=UNIQUE))
    order = [2, 0, 1]  # the protein modality has the cells in another order
    prot = ad.AnnData(
        COUNTS[order, 4:6], obs=pd.DataFrame(index=[BARCODES[i] for i in order]), var=pd.DataFrame(index=NAMES[4:6])
    )
    common = pd.DataFrame({"donor": ["d1", "d2", "d1"], "rna:n": [1, 2, 3]}, index=BARCODES)
    with h5py.File(folder / "small.h5mu", "w") as f:
        f.attrs["encoding-type"], f.attrs["encoding-version"] = "MuData", "0.1.0"
        f.create_group("mod")
        for name, a in (("rna", rna), ("prot", prot)):
            g = f["mod"].create_group(name)
            g.attrs["encoding-type"], g.attrs["encoding-version"] = "anndata", "0.1.0"
            for slot in ("X", "obs", "var"):
                ad.experimental.write_elem(g, slot, getattr(a, slot))
        ad.experimental.write_elem(f, "obs", common)
        ad.experimental.write_elem(f, "var", pd.DataFrame(index=[*UNIQUE, *NAMES[4:6]]))
    rna.obs["donor"] = common["donor"]
    rna.obsm["protein_expression"] = pd.DataFrame(COUNTS[:, 4:6].astype("float64"), index=BARCODES, columns=NAMES[4:6])
    save(folder, "small_h5mu", content(rna), "MuData 0.1, by hand")


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tenx(folder), mtx(folder), loom(folder), h5mu(folder)


if __name__ == "__main__":
    main()
