"""Pictures: matplotlib axes to go on with, drawings of our own, the map of cells."""

from __future__ import annotations

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import scgraft as sg


@pytest.fixture
def mapped(mapped):
    """Tested as well."""
    sg.tl.enrich(mapped.query, groupby="condition", groups="stimulated", versus="control")
    return mapped


def test_every_drawing(mapped, expimap, tmp_path):
    query, reference = mapped.query, mapped.reference
    one, two = [p for p, active in zip(expimap.latent_names, expimap.programs()["active"], strict=True) if active][:2]
    gene = query.var_names[0]
    scores = sg.tl.evaluate(query, batch_key="batch", labels_key="cell_type", before=None, resolutions=[1.0])
    asked = {
        "umap": dict(adata=query, reference=reference, color="cell_type"),
        "scores": dict(adata=query, names=[one, two], color="condition"),
        "violin": dict(adata=query, names=gene, groupby="cell_type", split="condition"),
        "heatmap": dict(adata=query, groupby="cell_type"),
        "dots": dict(adata=query, reference=reference, names=[one, gene], groupby="cell_type_pred"),
        "bayes": dict(adata=query),
        "training": dict(model=expimap),
        "genes": dict(model=expimap, names=one),
        "confusion": dict(adata=query, labels="cell_type"),
        "sankey": dict(adata=query, labels="cell_type"),
        "reliability": dict(adata=query, labels="cell_type"),
        "correlation": dict(adata=query),
        "overlap": dict(model=expimap),
        "members": dict(model=expimap, top=5, programs=[one, two]),
        "metrics": dict(table=scores),
    }
    assert set(asked) == set(sg.pl.PICTURES)
    for what, given in asked.items():
        drawn = sg.pl.draw(what, size=(640, 480), **given)
        assert drawn._repr_svg_().startswith("<svg") and 'width="640"' in drawn.svg, what
        drawn.save(tmp_path / f"{what}.png")
        assert (tmp_path / f"{what}.png").read_bytes()[:4] == b"\x89PNG"
    coloured = query.copy()
    coloured.uns["cell_type_colors"] = [f"#a1b2c{i}" for i in range(len(query.obs["cell_type"].cat.categories))]
    assert "#a1b2c1" in sg.pl.draw("sankey", coloured, labels="cell_type").svg
    # Numbers in a drawing are a table too: correlations are those of the scores.
    table = sg.pl.draw("correlation", query).table
    z = sg.get.program_scores(query)
    expected = np.corrcoef(z[list(table.columns)].to_numpy(dtype=float).T)
    assert np.allclose(table.to_numpy(), expected, atol=1e-5)
    shared = sg.pl.draw("overlap", model=expimap, programs=[one, two]).table
    genes = [set(expimap.program_genes(p).index) for p in (one, two)]
    assert np.isclose(shared.loc[one, two], len(genes[0] & genes[1]) / len(genes[0] | genes[1]))


def test_axes_to_go_on_with(mapped, expimap):
    query = mapped.query
    one, two = expimap.latent_names[:2]
    fig, axes = plt.subplots(2, 3)
    drawn = [
        sg.pl.violin(query, one, "cell_type", split="condition", ax=axes[0, 0]),
        sg.pl.correlation(query, ax=axes[0, 1]),
        sg.pl.overlap(expimap, ax=axes[0, 2]),
        sg.pl.members(expimap, top=3, ax=axes[1, 0]),
        sg.pl.confusion(query, "cell_type", ax=axes[1, 1]),
        sg.pl.reliability(query, "cell_type", ax=axes[1, 2]),
    ]
    assert all(a is b for a, b in zip(drawn, axes.flat, strict=True))
    fig.savefig("/dev/null", format="png")
    rows = [t.get_text() for t in axes[1, 1].get_yticklabels()]
    assert rows == sorted(query.obs["cell_type"].astype(str).unique())


def test_the_map_of_cells(mapped, expimap):
    gene = mapped.query.var_names[3]
    page = sg.pl.map(mapped.query, mapped.reference, color=expimap.latent_names[0], genes=[gene], height=500)
    assert "<canvas" in page.html and gene in page.html
    shown = page._repr_html_()
    assert shown.startswith("<iframe") and 'height="500"' in shown
    # The map alone: no section of the report but the cells.
    assert 'id="cells"' in page.html
    assert not any(other in page.html for other in ("<nav", 'id="overview"', 'id="methods"'))


def test_the_map_opens_on_what_was_asked_for(mapped, expimap):
    program, gene = expimap.latent_names[5], mapped.query.var_names[3]
    mapped.query.obsm["proteins"] = pd.DataFrame({"CD4": np.arange(mapped.query.n_obs)}, index=mapped.query.obs_names)
    mapped.query.obsm["pc"] = np.random.default_rng(0).normal(size=(mapped.query.n_obs, 2))

    def colors(**asked):
        page = sg.pl.map(mapped.query, mapped.reference, **asked).html
        colors = next(m["colors"] for m in json.loads(re.search(r"<script[^>]*json[^>]*>(.*?)</script>", page, re.S)[1])["maps"])
        return [c["name"] for c in colors]

    usual = colors()
    for asked in ("cell_type_novelty", program, "cell_type", "obsm/pc:1", "obsm/proteins:CD4", "CD4"):
        first, *others = colors(color=asked)
        assert first == asked.split(":")[-1], asked
        assert [o for o in others if o != first] == [u for u in usual if u != first]
    assert colors(color=gene)[0] == colors(genes=gene)[0] == f"{gene}, log1p of counts per 10,000"
    assert colors(color=[program, "batch"])[:2] == [program, "batch"]
    with pytest.raises(sg.ScgraftError, match="`cell_typ` is neither a column of obs, a program, a gene.*cell_type"):
        sg.pl.map(mapped.query, color="cell_typ")


def test_a_picture_that_was_made_is_drawn(mapped, expimap):
    reference, query = mapped.reference, mapped.query

    def drawn():
        page = sg.pl.map(query, reference).html
        data = json.loads(re.search(r"<script[^>]*json[^>]*>(.*?)</script>", page, re.S)[1])
        return data["maps"][0]["x"]

    usual = drawn()
    sg.tl.umap(reference, seed=3, max_epochs=20)
    sg.tl.umap(query, reference, seed=3, max_epochs=20)
    own = drawn()
    assert own != usual
    # Wherever it stands; one of scanpy's is none of this embedding.
    for adata in (reference, query):
        adata.obsm["X_scgraft_umap"] = adata.obsm["X_umap"].copy()
        adata.uns["scgraft"]["umap X_scgraft_umap"] = adata.uns["scgraft"]["umap X_umap"]
    assert drawn() == own
    for adata in (reference, query):
        del adata.obsm["X_scgraft_umap"], adata.uns["scgraft"]["umap X_scgraft_umap"]
        adata.uns["umap"] = {"params": {"a": 0.6, "b": 0.8}}
    assert drawn() == usual


def test_models_show_themselves(expimap, sim):
    mapped = expimap.map(sim.query, max_epochs=1, progress=False)
    for model, words in ((expimap, "scgraft model: expimap"), (mapped, "scgraft mapped query: expimap")):
        text = model._repr_html_()
        assert words in text and "<svg" in text and "gene programs" in text
    text = re.sub(r"<[^>]+>", " ", mapped._repr_html_())
    assert "query_1" in text and "the reference is as it was, to the bit" in text
    # The curves have the room that they need, however many terms the loss has.
    many = sg.train(sim.reference, model="scanvi", batch_key="batch", labels_key="cell_type", max_epochs=1, progress=False)
    assert "<svg" in many._repr_html_()


@pytest.mark.parametrize(
    ("what", "given", "words"),
    [
        ("umpa", {}, "what='umpa': there is no such picture; there are: 'umap'"),
        ("umap", {}, "needs adata="),
        ("violin", {"adata": True}, "needs groupby="),
        ("scores", {"adata": True, "names": "one", "color": "batch"}, "two names"),
        ("genes", {"model": True, "names": "nothing"}, "no such program"),
        ("confusion", {"adata": True, "labels": "lineage"}, "lineage_pred"),
        ("umap", {"adata": True, "color": "cell_typ"}, "cell_typ"),
        ("umap", {"adata": True, "color": "batch", "size": (0, 5)}, "size="),
    ],
)
def test_drawings_say_what_they_need(mapped, expimap, what, given, words):
    things = {"adata": mapped.query, "model": expimap}
    with pytest.raises(sg.ScgraftError, match=re.escape(words) if "=" in words else words):
        sg.pl.draw(what, **{k: things[k] if v is True else v for k, v in given.items()})


def test_groups_stand_in_the_columns_order(sim):
    adata = sim.reference
    order = ["type_5", "gone", *sorted(set(adata.obs["cell_type"]) - {"type_5"})]
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.set_categories(order)
    adata.obs["donor"] = np.arange(adata.n_obs) % 12
    adata.obs["depth"] = np.asarray(adata.X.sum(axis=1)).ravel()

    def shown(ax):
        return [t.get_text() for t in ax.get_xticklabels()]

    assert shown(sg.pl.violin(adata, "depth", "cell_type")) == [o for o in order if o != "gone"]
    split = sg.pl.violin(adata, "depth", "donor", split="cell_type")
    assert shown(split) == [str(i) for i in range(12)]
    # A colour for every category, as scanpy wants them; only those with cells are named.
    assert len(adata.uns["cell_type_colors"]) == len(order)
    assert [t.get_text() for t in split.get_legend().get_texts()] == [o for o in order if o != "gone"]
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(adata.n_obs, 2))
    one, two, three = sg.pl.umap(adata, color=["cell_type", "depth", adata.var_names[3]], ncols=2)
    assert one.figure is three.figure and two.get_title() == "depth"
    assert "gone" not in [t.get_text() for t in one.get_legend().get_texts()]
    shown_so_far = plt.get_fignums()
    with pytest.raises(sg.ScgraftError, match="color='nothing'"):
        sg.pl.umap(adata, color=["depth", "nothing"])
    assert plt.get_fignums() == shown_so_far, "a wrong name leaves no empty figure"
    with pytest.raises(sg.ScgraftError, match="one name with ax="):
        sg.pl.umap(adata, color=["cell_type"], ax=one)
    with pytest.raises(sg.ScgraftError, match="groupby: expected a name, found list"):
        sg.pl.violin(adata, "depth", ["donor"])
