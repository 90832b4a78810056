#![no_main]

use filter_lists::list::Format;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| filter_fuzz::list(Some(Format::Unbound), bytes));
