//! See `worker::fuzz::conversation`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| worker::fuzz::conversation(data));
