//! Where data and talk go: standard output and standard error, without control characters.

use std::io::{self, StdoutLock};

use filter_user::printable::{self, Printable};

/// Standard output.
pub(super) fn stdout() -> Printable<StdoutLock<'static>> {
    Printable(io::stdout().lock())
}

/// Says something on standard error.
pub(super) fn say(text: &str) {
    eprintln!("{}", printable::lines(text));
}
