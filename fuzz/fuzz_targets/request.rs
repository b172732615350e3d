//! See `gateway::fuzz::request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    gateway::fuzz::request(data);
});
