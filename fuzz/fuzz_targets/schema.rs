//! See `worker::fuzz::schema`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| worker::fuzz::schema(data));
