//! See `worker::fuzz::image`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| worker::fuzz::image(data));
