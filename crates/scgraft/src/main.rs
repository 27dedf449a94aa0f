//! The command line of scgraft.
//!
//! Exit codes: 0 done; 1 an error in data, settings or files; 2 wrong usage; 130 stopped by Ctrl-C. Results and
//! `--json` summaries go to standard output, everything else to standard error.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
