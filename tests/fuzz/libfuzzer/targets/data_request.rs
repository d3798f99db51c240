//! Runs `data_request` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flowgate_fuzz::check("data_request", input));
