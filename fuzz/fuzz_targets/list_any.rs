#![no_main]

// Detection and unpacking, too.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| filter_fuzz::list(None, bytes));
