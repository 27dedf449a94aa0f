"""Every matrix that an AnnData may hold is read where it stands and gives the same numbers."""

from __future__ import annotations

import anndata
import h5py
import numpy as np
import pytest
from scipy import sparse

import scgraft as sg
from scgraft import _native
from scgraft._adata import gather


def latent(model, adata):
    return model.get_latent_representation(adata)


def with_x(adata, x):
    return anndata.AnnData(X=x, obs=adata.obs.copy(), var=adata.var.copy())


def int64_indices(x):
    out = x.copy()
    out.indices, out.indptr = out.indices.astype(np.int64), out.indptr.astype(np.int64)
    return out


def unsorted(x):
    out = x.copy()
    for i in range(out.shape[0]):
        span = slice(out.indptr[i], out.indptr[i + 1])
        out.indices[span], out.data[span] = out.indices[span][::-1].copy(), out.data[span][::-1].copy()
    out.has_sorted_indices = False
    return out


FORMS = {
    "CSR": lambda x: x,
    "CSR array": sparse.csr_array,
    "CSR, int64 indices": int64_indices,
    "CSR, unsorted": unsorted,
    "CSR, float64": lambda x: x.astype(np.float64),
    "CSR, int32": lambda x: x.astype(np.int32),
    "CSR, uint16": lambda x: x.astype(np.uint16),
    "CSC": sparse.csc_matrix,
    "CSC, int64 data": lambda x: sparse.csc_matrix(x).astype(np.int64),
    "dense": lambda x: x.toarray(),
    "dense, by column": lambda x: np.asfortranarray(x.toarray()),
    "dense, float64": lambda x: x.toarray().astype(np.float64),
    "dense, int64": lambda x: x.toarray().astype(np.int64),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_in_memory_gives_the_same_bits(sim, scvi, form):
    expected = latent(scvi, sim.reference)
    found = latent(scvi, with_x(sim.reference, FORMS[form](sim.reference.X)))
    assert np.array_equal(found, expected)


def test_layers_raw_and_gene_columns(sim, scvi):
    expected = latent(scvi, sim.reference)
    other = sim.reference.copy()
    other.layers["counts"] = other.X.copy()
    other.raw = other.copy()
    other.X = other.X * 0.5
    assert np.array_equal(scvi.get_latent_representation(other, layer="counts"), expected)
    assert np.array_equal(scvi.get_latent_representation(other, use_raw=True), expected)
    named = sim.reference.copy()
    named.var["symbol"] = named.var_names
    named.var_names = [f"ENSG{i}" for i in range(named.n_vars)]
    assert np.array_equal(scvi.get_latent_representation(named, gene_key="symbol"), expected)


def test_views_and_other_orders_of_genes(sim, scvi):
    expected = latent(scvi, sim.reference)
    rows = np.arange(10, 200, 3)
    assert np.array_equal(latent(scvi, sim.reference[rows]), expected[rows])
    assert np.array_equal(latent(scvi, sim.reference[:, ::-1]), expected)
    assert np.array_equal(scvi.get_latent_representation(sim.reference, indices=rows), expected[rows])


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_backed_files_are_read_block_by_block(sim, scvi, tmp_path, form, monkeypatch):
    monkeypatch.setattr("scgraft._adata.BLOCK", 64)
    expected = latent(scvi, sim.reference)
    x = {"csr": sim.reference.X, "csc": sparse.csc_matrix(sim.reference.X), "dense": sim.reference.X.toarray()}[form]
    with_x(sim.reference, x).write_h5ad(tmp_path / "r.h5ad")
    backed = anndata.read_h5ad(tmp_path / "r.h5ad", backed="r")
    assert np.array_equal(latent(scvi, backed), expected)
    assert np.array_equal(latent(scvi, tmp_path / "r.h5ad"), expected)


def test_zarr_stores_are_read_by_their_path(sim, scvi, tmp_path):
    sim.reference.write_zarr(tmp_path / "r.zarr")
    assert np.array_equal(latent(scvi, tmp_path / "r.zarr"), latent(scvi, sim.reference))


@pytest.mark.parametrize("form", ["dense", "CSR"])
def test_dask_backed_cells(sim, scvi, form):
    import dask.array as da

    expected = latent(scvi, sim.reference)
    x = da.from_array(sim.reference.X.toarray(), chunks=(100, 150 if form == "dense" else -1))
    if form == "CSR":
        x = x.map_blocks(sparse.csr_matrix)
    assert np.array_equal(latent(scvi, with_x(sim.reference, x)), expected)


def test_cells_of_a_file_as_dask_has_them(sim, scvi, tmp_path):
    from anndata.experimental import read_elem_lazy

    sim.reference.write_h5ad(tmp_path / "r.h5ad")
    with h5py.File(tmp_path / "r.h5ad") as file:
        lazy = with_x(sim.reference, read_elem_lazy(file["X"], chunks=(100, sim.reference.n_vars)))
        assert np.array_equal(latent(scvi, lazy), latent(scvi, sim.reference))


def test_arrays_are_borrowed_by_their_addresses(sim):
    x = sim.reference.X
    assert _native.address(x.data) == x.data.ctypes.data
    assert _native.address(x.indices) == x.indices.ctypes.data
    wanted = [i % 7 == 0 for i in range(x.shape[1])]
    counts = gather(x, wanted, "X")
    # Only the entries of wanted genes are copied.
    assert counts.n_stored == int(x[:, np.flatnonzero(wanted)].nnz) < x.nnz / 5
    assert counts.n_cells == x.shape[0]


def test_results_are_moved_out(scvi, sim):
    z = latent(scvi, sim.reference)
    assert z.dtype == np.float32 and z.flags.c_contiguous and z.shape == (400, scvi.n_latent)


def test_a_matrix_that_is_none_is_named():
    with pytest.raises(sg.ScgraftError, match="masked array"):
        gather(np.ma.masked_array(np.ones((2, 2))), [True, True], "X")
    with pytest.raises(sg.ScgraftError, match="X is empty"):
        gather(None, [True], "X")
    with pytest.raises(sg.ScgraftError, match="expected a CSR, CSC or dense matrix"):
        gather([[1, 2]], [True, True], "X")
    broken = sparse.csr_matrix(np.eye(3, dtype=np.float32))
    broken.indices[1] = 7
    with pytest.raises(sg.ScgraftError, match="index 7, outside 0 to 2"):
        gather(broken, [True] * 3, "X")
