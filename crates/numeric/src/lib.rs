//! The numeric ground that everything else stands on: nothing here knows a tape, a cell or a file.
//!
//! Loops are compiled for the instruction sets of the processor at hand ([`isa`]) out of branchless functions ([`math`]);
//! random numbers are fixed functions of a seed ([`random`]); products and eigenpairs are cut into blocks that depend on
//! shapes alone ([`gemm`], [`eigen`], [`linear`]). Same inputs, same bits, on any number of threads.

pub mod distributions;
pub mod eigen;
pub mod gemm;
pub mod isa;
pub mod linear;
pub mod math;
pub mod names;
pub mod random;
