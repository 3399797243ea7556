//! The `dabi` binary.

fn main() {}
