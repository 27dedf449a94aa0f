//! scgraft for Python: what the package `scgraft` calls. No algorithm is here; arrays are read where they stand, results
//! move out.

mod cells;
mod counts;
mod drawing;
mod error;
mod fits;
mod frame;
mod hub;
mod json;
mod log;
mod model;
mod output;
mod plan;
mod run;
mod steps;
mod tools;
mod uns;

use pyo3::prelude::*;

/// The part of scgraft that is written in Rust; use the package `scgraft`.
#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::cells::{PyCells, join, simulate};
    #[pymodule_export]
    use super::counts::{Counts, address};
    #[pymodule_export]
    use super::drawing::{Drawing, picture};
    #[pymodule_export]
    use super::fits::{map_cells, train};
    #[pymodule_export]
    use super::hub::{copied, fetch, listing, push};
    #[pymodule_export]
    use super::model::{PyAdaptor, PyModel, PyPrepared, import_model, models, prepare, read_gmt};
    #[pymodule_export]
    use super::steps::{annotate, differential, enrich, markers};
    #[pymodule_export]
    use super::tools::{
        agreements, clusters, components, evaluate, main_test, neighbours, report, scores, silhouettes, umap,
        variable_genes,
    };

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        log::start();
        m.add("ScgraftError", m.py().get_type::<error::ScgraftError>())?;
        m.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
