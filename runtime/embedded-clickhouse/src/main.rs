//! dabi
fn main() {}
