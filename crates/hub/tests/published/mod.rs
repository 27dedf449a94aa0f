//! What a package computed from a model that it saved: cells and numbers, as `tools/golden/published_models.py` writes
//! them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use scgraft_cells::{
    Array, Cells, Column, ConditionSource, Csr, Dense, Frame, Matrix, PrepareOptions, Prepared, ProteinSource,
};
use scgraft_models::Model;
use serde_json::Value;

/// The expected numbers of a model, and its cells.
pub struct Expected {
    pub meta: Value,
    arrays: BTreeMap<String, Dense>,
}

impl Expected {
    pub fn read(folder: &Path) -> Expected {
        let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
        let (_, head) = SafeTensors::read_metadata(&bytes).unwrap();
        let meta = serde_json::from_str(&head.metadata().as_ref().unwrap()["meta"]).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let array = |view: &safetensors::tensor::TensorView<'_>| {
            let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            let shape = view.shape();
            Dense::new(shape[0], shape.get(1).copied().unwrap_or(1), values)
        };
        Expected { meta, arrays: file.iter().map(|(name, view)| (name.to_owned(), array(&view))).collect() }
    }

    pub fn get(&self, name: &str) -> Option<&Dense> {
        self.arrays.get(name)
    }

    fn names(&self, path: &str) -> Vec<String> {
        serde_json::from_value(self.meta.pointer(path).unwrap().clone()).unwrap()
    }

    /// The cells.
    pub fn cells(&self) -> Cells {
        let x = &self.arrays["x"];
        let mut csr = Csr { n_rows: x.n_rows, n_cols: x.n_cols, indptr: vec![0], ..Csr::default() };
        for row in x.values.chunks(x.n_cols) {
            for (gene, &v) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                csr.indices.push(gene as u32);
                csr.values.push(v);
            }
            csr.indptr.push(csr.indices.len());
        }
        let mut obs = Frame::new((0..x.n_rows).map(|i| format!("cell{i}")).collect());
        for column in self.meta["obs"].as_object().unwrap().keys() {
            obs.set(column, Column::categorical(&self.names(&format!("/obs/{column}"))));
        }
        for column in ["mito", "depth"] {
            if let Some(array) = self.get(column) {
                obs.set(column, Column::Real(array.values.iter().map(|&v| f64::from(v)).collect()));
            }
        }
        let mut cells = Cells::new(Matrix::Sparse(csr), obs, Frame::new(self.names("/genes")));
        let mut frame = Frame::new(cells.obs.index.clone());
        let n_proteins = self.names("/proteins").len();
        for (p, name) in self.names("/proteins").iter().enumerate() {
            let column =
                self.arrays["protein"].values.iter().skip(p).step_by(n_proteins).map(|&v| f64::from(v)).collect();
            frame.set(name, Column::Real(column));
        }
        cells.obsm.insert("protein".into(), Array::Frame(frame));
        cells
    }

    /// The cells as the model takes them, with the columns that the model names.
    pub fn prepared(&self, model: &Model) -> Prepared {
        let columns: Option<Vec<String>> =
            model.provenance.get("condition_columns").map(|c| serde_json::from_value(c.clone()).unwrap());
        let options = PrepareOptions {
            condition: columns.map_or(ConditionSource::Constant("reference".into()), ConditionSource::Columns),
            kind: model.values(),
            label: (!model.header.labels.is_empty())
                .then(|| model.provenance.get("label_column").and_then(|l| l.as_str()).unwrap_or("type").to_owned()),
            unlabelled: model.provenance.get("unlabelled").and_then(|u| u.as_str()).map(str::to_owned),
            proteins: (!model.header.proteins.is_empty())
                .then(|| ProteinSource { obsm: "protein".into(), names: None }),
            ..PrepareOptions::default()
        };
        Prepared::query(&self.cells(), &model.header.known, &options).unwrap()
    }
}

/// Folders of models beside this file, and in the folder that `SCGRAFT_PUBLISHED` names.
pub fn folders() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let more = std::env::var_os("SCGRAFT_PUBLISHED").map(PathBuf::from);
    let of = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        entries.map(|e| e.unwrap().path()).filter(|p| p.join("expected.safetensors").exists()).collect()
    };
    let mut out: Vec<PathBuf> = std::iter::once(own).chain(more).flat_map(|f| of(&f)).collect();
    out.sort();
    out
}
