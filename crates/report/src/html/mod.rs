//! One HTML file that shows a whole run and needs no network.
//!
//! Fill a [`Report`]; [`Report::to_html`] makes the page. Every part but the title and the run may be empty; empty parts leave no
//! trace on the page. All names are escaped; a content security policy in the page forbids it to load anything.

mod answers;
mod content;
mod pack;
mod page;
mod sections;
mod tables;

pub use content::{
    Answers, CellMap, Citation, Composition, Criterion, Difference, Fact, Leading, Light, Next, OverDonors, Program,
    Report, RunInfo, Transfer, TransferredLabel, TypeShare,
};
