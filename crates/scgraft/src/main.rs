//! scgraft
fn main() {}
