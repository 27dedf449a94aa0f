//! Interpretable single-cell reference mapping.
//!
//! Train a conditional variational autoencoder on a reference atlas, graft a query onto it by architecture
//! surgery, and read the result in gene programs. [`pipeline`] tells the whole story; the stages are crates of their
//! own, re-exported here; [`slots`] says where results stand in an AnnData file.
//!
//! ```
//! use scgraft::cells::{ConditionSource, PrepareOptions, SimulateOptions, simulate};
//! use scgraft::query::{QueryPlan, map_query};
//! use scgraft::reference::{ReferencePlan, train_reference};
//! use scgraft::train::Quiet;
//!
//! let sim = simulate(&SimulateOptions { n_reference: 300, n_query: 100, ..SimulateOptions::default() })?;
//! let batch = ConditionSource::Columns(vec!["batch".into()]);
//! let prepare = PrepareOptions { condition: batch.clone(), ..PrepareOptions::default() };
//! let mut plan = ReferencePlan { prepare, ..ReferencePlan::default() };
//! plan.train.epochs = 2;
//! let reference = train_reference(&sim.reference, &sim.gene_sets, None, &plan, &mut Quiet)?;
//!
//! let mut plan = QueryPlan::new(&reference.model, "query", batch, sim.query.n_cells());
//! plan.train.epochs = 2;
//! let mapped = map_query(&reference.model, &sim.query, &plan, &mut Quiet)?;
//! assert_eq!(mapped.embedding.mean.n_rows, 100);
//! # Ok::<(), scgraft::Error>(())
//! ```

use std::ops::ControlFlow;

pub mod annotate;
mod answers;
pub mod bundle;
pub mod cluster;
pub mod columns;
pub mod decode;
pub mod differential;
pub mod drawn;
mod embedding;
pub mod enrich;
mod error;
pub mod evaluate;
pub mod expression;
pub mod gather;
pub mod join;
pub mod joint;
pub mod labels;
pub mod layout;
pub mod markers;
mod normalised;
pub mod page;
pub mod pictures;
pub mod pipeline;
pub mod programs;
pub mod query;
pub mod reference;
pub mod relations;
pub mod save;
pub mod settings;
pub mod shown;
pub mod slots;
pub mod trial;
pub mod watch;

pub use embedding::{Embedding, program_weights};
pub use error::Error;
pub use normalised::{LogExpression, log_expression, plain_expression, principal_components};
pub use query::warn;

/// Asked between the parts of a long step whether to go on; a break ends the step with [`Error::Stopped`].
pub type Ask<'a> = dyn FnMut() -> ControlFlow<()> + 'a;

/// An [`Ask`] that always goes on.
pub fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn goes_on(ask: &mut Ask<'_>) -> Result<(), Error> {
    if ask().is_break() { Err(Error::Stopped) } else { Ok(()) }
}

/// The instruction set that kernels use on this processor; results are the same bits on processors with the same one.
pub fn instruction_set() -> String {
    format!("{:?}", scgraft_numeric::isa::level())
}

pub use scgraft_analysis as analysis;
pub use scgraft_cells as cells;
pub use scgraft_engine as engine;
pub use scgraft_hub as hub;
pub use scgraft_io as io;
pub use scgraft_models as models;
pub use scgraft_numeric as numeric;
pub use scgraft_report as report;
pub use scgraft_train as train;
