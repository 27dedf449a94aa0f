//! Pictures (PNG and SVG) and the HTML report.
//!
//! Nothing is computed here but the layout: every picture is a plain struct of names and numbers that someone else
//! computed, with one function that draws it. Text is set in an embedded font, so that a picture looks the same on
//! every machine; nothing is read from the system, written to it or loaded from a network: pictures and pages are bytes.
//!
//! ```
//! use scgraft_report::{BayesFactors, Picture, ProgramBayesFactor};
//!
//! let test = BayesFactors {
//!     title: "stimulated against control".into(),
//!     programs: vec![
//!         ProgramBayesFactor { name: "INTERFERON_SIGNALING".into(), log_bf: 4.2, se: Some(0.1) },
//!         ProgramBayesFactor { name: "TRANSLATION".into(), log_bf: -0.3, se: None },
//!     ],
//!     ..BayesFactors::default()
//! };
//! let svg = test.draw(test.natural_size())?.to_svg()?;
//! assert!(svg.contains("INTERFERON"));
//! # Ok::<(), scgraft_report::ReportError>(())
//! ```

mod axis;
mod bytes;
pub mod color;
mod density;
mod error;
mod font;
pub mod html;
mod legend;
pub mod pictures;
mod place;
mod png;
pub mod scene;
mod splat;
mod svg;

pub use axis::count;
pub use error::ReportError;
pub use pictures::*;
