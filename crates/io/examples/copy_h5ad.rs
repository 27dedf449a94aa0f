//! Reads an h5ad file and writes it again: `cargo run --release --example copy_h5ad in.h5ad [out.h5ad]`.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use scgraft_io::{ReadOptions, WriteOptions, read_h5ad, write_h5ad};

fn main() -> Result<(), scgraft_io::Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, rest @ ..] = args.as_slice() else {
        println!("usage: copy_h5ad in.h5ad [out.h5ad]");
        return Ok(());
    };
    let start = Instant::now();
    let cells = read_h5ad(input, &ReadOptions::default())?;
    println!("{} × {} read in {:.3} s", cells.n_cells(), cells.n_genes(), start.elapsed().as_secs_f64());
    if let [output, ..] = rest {
        let start = Instant::now();
        write_h5ad(output, &cells, &WriteOptions::default())?;
        println!("written in {:.3} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}
