//! How a fit went.

use scgraft::cells::counted;
use scgraft::relations::Independence;
use scgraft::train::FitReport;
use serde_json::Value;

use super::output::{Output, fixed, number};

/// How a fit went, in words.
pub(crate) fn told(report: &FitReport) -> String {
    let how = match (report.stopped_early, report.short_of, report.last_gain) {
        (true, ..) => "arrived: no better state was found for a while".to_owned(),
        (_, Some(usual), _) => {
            format!("NOT ARRIVED: {usual} epochs are usual for so many cells; give it more --epochs")
        }
        (_, _, None) => "too few cells or epochs to tell whether it arrived".to_owned(),
        (_, _, Some(gain)) if report.arrived() == Some(true) => {
            format!("arrived: the last fifth of them gained {:.3} % of the loss", 100.0 * gain)
        }
        (_, _, Some(gain)) => format!(
            "NOT ARRIVED: the last fifth of them still gained {:.2} % of the loss; give it more --epochs",
            100.0 * gain
        ),
    };
    let state = match report.best_epoch {
        0 => "what was read off the cells before".to_owned(),
        epoch => format!("state of epoch {epoch}"),
    };
    let (epochs, steps) = (counted(report.epochs, "epoch", "epochs"), counted(report.steps, "step", "steps"));
    format!("{epochs}, {steps}, {state}; {how}")
}

/// How a fit went, in the JSON summary.
pub(crate) fn summary(out: &mut Output, report: &FitReport) {
    out.put("epochs", report.epochs);
    out.put("best_epoch", report.best_epoch);
    out.put("stopped_early", report.stopped_early);
    out.put("arrived", report.arrived());
    out.put("trained_values", report.n_trainable);
    out.put("validation_loss", report.best_loss.map_or(Value::Null, number));
}

/// How far a new program says what a program of before says already.
pub(crate) fn independence(of: &Independence) -> String {
    let (r, h) = (fixed(of.correlation, 2), fixed(of.hsic, 2));
    format!("{}: largest |correlation| with a program of before {r} ({}), HSIC {h}", of.program, of.with)
}
