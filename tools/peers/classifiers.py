"""Plain classifiers beside the labels that scgraft carries over: trained on the reference's cells, asked for the query's.

    python tools/peers/classifiers.py reference_out.h5ad mapped.h5ad --labels cell_type [--names kang.map]

Nearest neighbours, logistic regression and a linear support vector machine on the embedding, and on components of the counts of
both files (scikit-learn 1.5 or later, anndata). Cells whose label the reference lacks are left out; `<labels>_best` of
`scgraft annotate` is the row `carried over`.
"""

import argparse

import anndata
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC


def components(reference, query, k=50):
    """Components of log counts of both over the genes that both have."""
    genes = reference.var_names.intersection(query.var_names)
    parts = []
    for cells in (reference, query):
        x = cells[:, genes].X.astype(np.float64).tocsr()
        total = np.asarray(x.sum(1)).ravel()
        x.data *= np.repeat(1e4 / np.maximum(total, 1), np.diff(x.indptr))
        parts.append(x.log1p())
    svd = TruncatedSVD(k, random_state=0).fit(parts[0])
    return [svd.transform(x) for x in parts]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference")
    parser.add_argument("query")
    parser.add_argument("--labels", required=True)
    parser.add_argument("--names", help="two columns: a label of the query, its name in the reference")
    asked = parser.parse_args()
    reference, query = anndata.read_h5ad(asked.reference), anndata.read_h5ad(asked.query)
    names = dict(line.rstrip("\n").split("\t") for line in open(asked.names)) if asked.names else {}
    known = reference.obs[asked.labels].astype(str).to_numpy()
    truth = np.array([names.get(t, t) for t in query.obs[asked.labels].astype(str)])
    shared = np.isin(truth, known)
    print(f"{shared.sum()} of {len(truth)} cells have a label of the reference\nclassifier\tof\taccuracy\tmacro F1")

    def tell(classifier, of, found):
        score = accuracy_score(truth[shared], found[shared])
        macro = f1_score(truth[shared], found[shared], labels=np.unique(truth[shared]), average="macro", zero_division=0)
        print(f"{classifier}\t{of}\t{score:.3f}\t{macro:.3f}")

    carried = f"{asked.labels}_best"
    if carried in query.obs:
        tell("carried over", "X_scgraft", query.obs[carried].astype(str).to_numpy())
    spaces = {"X_scgraft": [a.obsm["X_scgraft"] for a in (reference, query)], "components": components(reference, query)}
    for of, (x, y) in spaces.items():
        for name, model in (
            ("nearest neighbours", KNeighborsClassifier(15)),
            ("logistic regression", make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))),
            ("linear SVM", make_pipeline(StandardScaler(), LinearSVC())),
        ):
            tell(name, of, model.fit(x, known).predict(y))
