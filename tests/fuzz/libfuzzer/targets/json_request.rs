//! Runs `json_request` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flowgate_fuzz::check("json_request", input));
