//! Runs `websocket_frames` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flowgate_fuzz::check("websocket_frames", input));
