//! Checks properties that must hold for any bytes that a peer sends: one function for each kind of input, which panics if a
//! property is violated. libFuzzer runs the functions for long (`libfuzzer/`), and the tests of this crate run them on the
//! corpus and on mutations of it.

mod chunks;

mod data_request;

mod frames;

mod json;

mod pieces;

mod trailers;

mod websocket;

/// A kind of input: its name, which is also that of its corpus, and the function that checks an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every kind of input.
pub const TARGETS: &[Target] = &[
    ("chunks", chunks::check),
    ("data_request", data_request::check),
    ("grpc_frames", frames::check),
    ("grpc_trailers", trailers::check),
    ("json_request", json::check),
    ("websocket_frames", websocket::check),
];

/// Checks an input of this kind.
///
/// # Panics
/// When the input violates a property, or the kind is unknown.
pub fn check(target: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, check) = found.expect("a kind of input");
    check(input);
}
