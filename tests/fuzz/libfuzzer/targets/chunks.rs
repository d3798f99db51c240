//! Runs `chunks` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flowgate_fuzz::check("chunks", input));
