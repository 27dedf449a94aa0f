"""Wrong uses say where, what was expected, what was found, and what to do, in Python's words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scgraft as sg

TRAIN = dict(model="scvi", max_epochs=1, progress=False)


def refused(match):
    return pytest.raises(sg.ScgraftError, match=match)


def test_it_is_a_value_error():
    assert issubclass(sg.ScgraftError, ValueError)


def test_no_batch(sim):
    with refused("batch_key=, a column of obs, or batch_name="):
        sg.train(sim.reference, **TRAIN)
    with refused("batch_key='bacth': obs has no such column.*'batch'"):
        sg.train(sim.reference, batch_key="bacth", **TRAIN)
    with refused("not both"):
        sg.train(sim.reference, batch_key="batch", batch_name="one", **TRAIN)


def test_no_counts(sim):
    sim.reference.layers["counts"] = sim.reference.X.copy()
    sim.reference.X = sim.reference.X * 0.37
    with refused("layer `counts` holds whole numbers: use it \\(layer='counts'\\)"):
        sg.train(sim.reference, batch_key="batch", **TRAIN)


def test_negative_float64(sim):
    x = sim.reference.X.astype(np.float64).toarray()
    x[3, 5] = -1.0
    sim.reference.X = x
    with refused("-1"):
        sg.train(sim.reference, batch_key="batch", n_top_genes=None, **TRAIN)


def test_names_that_are_empty_or_stand_twice(sim):
    cells = sim.reference.copy()
    cells.obs_names = ["", *cells.obs_names[1:]]
    with refused("adata.obs_names: some names are empty"):
        sg.train(cells, batch_key="batch", **TRAIN)
    genes = sim.reference.copy()
    genes.var_names = [genes.var_names[1], *genes.var_names[1:]]
    with refused("twice|more than once|two genes|repeated|same name"):
        sg.train(genes, batch_key="batch", n_top_genes=None, **TRAIN)


def test_model_and_data_that_do_not_match(scvi, sim, tmp_path):
    saved = tmp_path / "m.scgraft"
    scvi.save(saved)
    other = sim.query.copy()
    other.var_names = [f"OTHER{i}" for i in range(other.n_vars)]
    with refused("genes"):
        scvi.map(other, progress=False)
    with refused("model.map\\(adata\\)"):
        scvi.get_latent_representation(sim.query)
    lost = sim.query.copy()
    del lost.obs["batch"]
    with refused("give batch_key="):
        sg.load(saved).map(lost, progress=False)


def test_files_that_are_not_there(tmp_path):
    for call in (sg.load, sg.import_model, sg.read_gmt, sg.Adaptor.load):
        with pytest.raises(FileNotFoundError):
            call(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        sg.train(tmp_path / "nothing.h5ad", batch_key="batch", **TRAIN)


def test_files_that_are_no_models(tmp_path):
    (tmp_path / "text").write_text("not a model")
    with refused("text"):
        sg.load(tmp_path / "text")


def test_what_is_needed_and_what_there_is(sim):
    with refused("no such model.*'scvi'"):
        sg.train(sim.reference, model="svci", batch_key="batch")
    with refused("needs gene programs: give programs="):
        sg.train(sim.reference, batch_key="batch")
    with refused("needs cell labels: give labels_key="):
        sg.train(sim.reference, model="scanvi", batch_key="batch")
    with refused("layer='count': adata has no such layer"):
        sg.train(sim.reference, batch_key="batch", layer="count", **TRAIN)
    with refused("adata.raw is empty"):
        sg.train(sim.reference, batch_key="batch", use_raw=True, **TRAIN)
    with refused("flavor="):
        sg.train(sim.reference, batch_key="batch", flavor="other", **TRAIN)
    with refused("expected an AnnData"):
        sg.train(np.eye(3), batch_key="batch", **TRAIN)


@pytest.mark.parametrize("wrong", [{"max_epochs": 0}, {"batch_size": -1}, {"lr": -0.1}, {"train_size": 1.5}])
def test_fits_that_make_no_sense(sim, wrong):
    with refused(next(iter(wrong))):
        sg.train(sim.reference, batch_key="batch", **{**TRAIN, **wrong})


def test_tools_that_lack_an_earlier_step(sim):
    with refused("use_rep='X_scgraft': obsm of adata has no such embedding.*scgraft.tl.map"):
        sg.tl.umap(sim.query)
    with refused("neighbors_key='neighbors': .*Find neighbours first"):
        sg.tl.leiden(sim.query)
    with refused("no program test"):
        sg.get.enrich_df(sim.query)
    with refused("obsm of reference has no such embedding"):
        sg.tl.annotate(sim.query, sim.reference)


def test_settings_are_checked():
    with refused("settings.threads"):
        sg.settings.threads = -1
    with refused("settings.progress"):
        sg.settings.progress = "maybe"
    with pytest.raises(AttributeError):
        sg.settings.sede = 1
    assert sg.settings.threads == 0 and sg.settings.progress == "auto"


def with_obs(adata, values):
    adata.obs["new"] = values
    return adata


def with_proteins(adata):
    adata.obsm["protein_expression"] = pd.DataFrame("many", index=adata.obs_names, columns=["CD3", "CD4"])
    return adata


def fit(sim, **given):
    return sg.train(sim.reference, **{"batch_key": "batch", **TRAIN, **given})


WRONG = {
    "the unknown setting `n_latnet`; there are: 'latent'": lambda s, m: fit(s, n_latnet=5),
    'string "ten", expected a whole number': lambda s, m: fit(s, latent="ten"),
    "`poison`; there are: 'poisson'": lambda s, m: fit(s, likelihood="poison"),
    "expected a list": lambda s, m: fit(s, hidden=16),
    "dropout: expected at least 0 and below 1": lambda s, m: fit(s, dropout=2),
    "seed: expected a whole number": lambda s, m: fit(s, seed="one"),
    "threads: expected a whole number": lambda s, m: fit(s, threads=-3),
    "the unknown setting `bach_key`": lambda s, m: m.map(s.query, bach_key="batch", progress=False),
    'surgery="everything": expected': lambda s, m: m.map(s.query, surgery="everything", progress=False),
    "library_size='own': expected a number above 0": lambda s, m: m.get_normalized_expression(library_size="own"),
    "no condition `nowhere`; its conditions": lambda s, m: m.get_normalized_expression(transform_batch="nowhere"),
    "no gene `nothing`; its genes": lambda s, m: m.get_normalized_expression(gene_list=["nothing"]),
    "expected rows of 400 cells, found 1000": lambda s, m: m.get_latent_representation(indices=[0, 1000]),
    "no group `type_99`; its groups": lambda s, m: m.differential_expression(groupby="cell_type", group1="type_99"),
    'mode="chnage": expected one of': lambda s, m: m.differential_expression(groupby="cell_type", mode="chnage"),
    "no classifier of its own.*scgraft.tl.annotate": lambda s, m: m.predict(),
    "has no gene programs": lambda s, m: m.programs(),
    "needs proteins in the model": lambda s, m: m.get_proteins(),
    "give groupby=, a column of obs, a reference": lambda s, m: (m.to_adata(), sg.tl.enrich(m.adata)),
    "groups='stim': 'condition' has no such value": lambda s, m: (
        m.to_adata(), sg.tl.enrich(m.adata, groupby="condition", groups="stim")),
    "labels: name at least one": lambda s, m: sg.tl.annotate(s.query, s.reference, labels=[]),
    'kernel="gauss": expected one of': lambda s, m: (m.to_adata(), sg.tl.annotate(m.adata, m.adata, kernel="gauss")),
    "batch_key='bacth': obs has no such column": lambda s, m: sg.tl.evaluate(
        s.reference, batch_key="bacth", labels_key="cell_type"),
    "batch_key= is missing": lambda s, m: sg.tl.evaluate(s.reference, labels_key="cell_type"),
    "must be at least 1, not 0": lambda s, m: sg.pp.highly_variable_genes(s.reference, n_top_genes=0),
    "n_reference: expected a whole number": lambda s, m: sg.datasets.simulate(n_reference=-1),
    "is a folder; give the model's file": lambda s, m: sg.load("."),
    "n_neighbors=5000: expected at most 400": lambda s, m: (m.to_adata(), sg.tl.neighbors(m.adata, n_neighbors=5000)),
    "a table of genes × programs; say which genes": lambda s, m: fit(s, programs=pd.DataFrame(
        {"A": [0.5, 1.0], "B": [0.1, 0.0]}, index=s.reference.var_names[:2])),
    "varm..W.. holds weights, not 0 and 1": lambda s, m: (
        s.reference.varm.update(W=np.full((s.reference.n_vars, 2), 0.5)), fit(s, programs="W")),
    "n_neighbors=0: expected at least one": lambda s, m: (m.to_adata(), sg.tl.neighbors(m.adata, n_neighbors=0)),
    "approximate=3: expected a share": lambda s, m: (m.to_adata(), sg.tl.umap(m.adata, approximate=3)),
    "kbet_neighbors=1: expected at least 2": lambda s, m: (
        m.to_adata(), sg.tl.evaluate(m.adata, batch_key="batch", labels_key="cell_type", kbet_neighbors=1)),
    "unknown=2: expected an uncertainty": lambda s, m: (m.to_adata(), sg.tl.annotate(m.adata, m.adata, unknown=2)),
    "false_alarms=2: expected a share": lambda s, m: (m.to_adata(), sg.tl.annotate(m.adata, m.adata, false_alarms=2)),
    "max_epochs=0: expected 1 to 1,000,000": lambda s, m: (m.to_adata(), sg.tl.umap(m.adata, max_epochs=0)),
    "n_comps=5000: expected more than 0 and at most 399": lambda s, m: sg.tl.pca(s.reference, n_comps=5000),
    "at most 100,000 draws.*n_samples=": lambda s, m: m.get_normalized_expression(n_samples=10**9),
    "1 to 1,000,000, found 1000000000 .max_epochs=": lambda s, m: m.map(s.query, max_epochs=10**9, progress=False),
    "start: scgraft.train takes it, Model.map does not": lambda s, m: m.map(s.query, start=m, progress=False),
    "new_programs: Model.map takes it, scgraft.train does not": lambda s, m: fit(s, new_programs=3),
    "a model scvi cannot start from a expimap.*leave start= out": lambda s, m: fit(s, start=sg.train(
        s.reference, batch_key="batch", programs=s.programs, hidden=[8], **TRAIN | {"model": "expimap"})),
    "n_top_genes: expected a whole number": lambda s, m: fit(s, n_top_genes="many"),
    "early_stopping: expected True or False": lambda s, m: fit(s, early_stopping="yes"),
    "max_epochs: expected a whole number, 1 or more, found 'ten'": lambda s, m: m.map(s.query, max_epochs="ten"),
    "fit_cells: expected a whole number": lambda s, m: m.map(s.query, fit_cells=-4, progress=False),
    "min_overlap=7: expected a share": lambda s, m: m.map(s.query, min_overlap=7, progress=False),
    "batch_key='reference_1': obs has no such column": lambda s, m: fit(s, batch_key=s.reference.obs["batch"]),
    "labels: name a column of obs in which cells have labels": lambda s, m: sg.train(
        with_obs(s.reference, None), batch_key="batch", **TRAIN | {"model": "scanvi"}, labels_key="new"),
    "expected an AnnData, a MuData or the path of a file, found DataFrame": lambda s, m: sg.train(s.reference.to_df(), **TRAIN),
    "adata: expected an AnnData, found Model": lambda s, m: sg.tl.map(m, s.query),
    "model: expected a model, or the path or the address of one, found NoneType": lambda s, m: sg.tl.map(s.query, None),
    "start: expected a model": lambda s, m: fit(s, start=3),
    "found Model; a mapped model has its own as .adaptor": lambda s, m: m.attach(m),
    "there is no argument 'bach_key'; there are: 'batch_key'": lambda s, m: m.get_likelihood(s.reference, bach_key="b"),
    "a mask of 400 cells, found float64": lambda s, m: m.get_latent_representation(indices=[0.5]),
    "a mask of 400 cells, found bool": lambda s, m: m.get_latent_representation(indices=np.array([True, False])),
    "n_samples: expected a whole number": lambda s, m: m.get_normalized_expression(n_samples=-1),
    "delta: expected a number": lambda s, m: m.differential_expression(groupby="cell_type", delta="big"),
    "resolution: expected a number": lambda s, m: (m.to_adata(), sg.tl.neighbors(m.adata), sg.tl.leiden(m.adata, "x")),
    "n_comps: expected a whole number, 1 or more": lambda s, m: sg.tl.pca(s.reference, n_comps=0),
    "batch_key='nothing': obs has": lambda s, m: sg.pp.highly_variable_genes(s.reference, batch_key="nothing"),
    "labels='celltype': obs of reference has": lambda s, m: (m.to_adata(), sg.tl.annotate(m.adata, m.adata, labels="celltype")),
    "versus='contrl': 'condition' has no such value": lambda s, m: (
        m.to_adata(), sg.tl.enrich(m.adata, groupby="condition", versus="contrl")),
    "`new` has 1 cell": lambda s, m: sg.tl.rank_genes_groups(with_obs(s.query, ["one"] + ["b"] * (s.query.n_obs - 1)), "new"),
    "groupby='nothing': obs has no such column": lambda s, m: (m.to_adata(), sg.tl.report(m.adata, groupby="nothing")),
    "`nothing` is neither a column of obs": lambda s, m: (m.to_adata(), sg.tl.report(m.adata, color="nothing")),
    "truth='nothing': obs has no such column": lambda s, m: (m.to_adata(), sg.tl.report(m.adata, truth="nothing")),
    "name='nothing': neither": lambda s, m: sg.pl.violin(s.query, "nothing", "condition"),
    "counts of proteins, cells × proteins; could not convert": lambda s, m: sg.train(
        with_proteins(s.reference), batch_key="batch", **TRAIN | {"model": "totalvi"}),
    "needs protein counts: give protein_key=, an entry of obsm; there are: 'true_activity'": lambda s, m: sg.train(
        s.reference, batch_key="batch", **TRAIN | {"model": "totalvi"}),
    "at least 2 needed": lambda s, m: sg.metrics.silhouette(np.eye(4), ["a"] * 4),
}  # fmt: skip


@pytest.mark.parametrize("words", WRONG)
def test_wrong_uses(sim, words):
    model = sg.train(sim.reference, batch_key="batch", hidden=[8], **TRAIN)
    with refused(words):
        WRONG[words](sim, model)


def test_files_of_cells_that_are_none(tmp_path):
    (tmp_path / "text.h5ad").write_text("not cells")
    with refused("text.h5ad: expected an h5ad file; it cannot be read"):
        sg.train(tmp_path / "text.h5ad", **TRAIN)
    (tmp_path / "counts.csv.gz").write_text("gene,cell1\n")
    with refused("found a table; give anndata.AnnData"):
        sg.train(tmp_path / "counts.csv.gz", **TRAIN)
    with refused("expected the folder of a Zarr store"):
        sg.train(tmp_path, **TRAIN)


def test_a_checkpoint_has_a_folder_before_the_fit_begins(sim, tmp_path):
    with pytest.raises(FileNotFoundError, match="checkpoint=.*no such folder"):
        sg.train(sim.reference, batch_key="batch", checkpoint=tmp_path / "no" / "fit", **TRAIN)


def test_no_word_of_the_command_line_is_left(sim, scvi):
    sim.reference.X = sim.reference.X.log1p() * 0.77
    with pytest.raises(sg.ScgraftError) as error:
        sg.tl.pca(sim.reference)
    assert "--" not in str(error.value) and "use_raw=True" in str(error.value)
