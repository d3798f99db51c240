//! Runs `grpc_trailers` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flowgate_fuzz::check("grpc_trailers", input));
