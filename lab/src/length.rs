//! How long the long tests are: a slice of them by default, the whole when that is asked for.

/// Says that long tests are wanted at their whole length; `cargo xtask test --long` sets it.
const VARIABLE: &str = "NXDP_LONG";

/// The first value in a default run, the second where long tests are wanted.
pub fn short_or_long<T>(short: T, long: T) -> T {
    match std::env::var_os(VARIABLE) {
        None => short,
        Some(_) => long,
    }
}
