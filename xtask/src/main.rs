//! Sets up, builds, runs, tests and measures nxdp.

fn main() {}
