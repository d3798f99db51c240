//! What must hold for whatever bytes a peer sends: a function for each kind of input, which panics where it does not hold.
//! libFuzzer runs them for long (`libfuzzer/`), and the tests of this crate run them on the corpus and on inputs near it.

mod chunks;

mod data_request;

mod frames;

mod json;

mod pieces;

mod trailers;

mod websocket;

/// A kind of input: its name, which is that of its corpus, and what must hold for it.
pub type Target = (&'static str, fn(&[u8]));

/// All kinds of inputs.
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
/// When something does not hold for it, or there is no such kind.
pub fn check(target: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, check) = found.expect("a kind of input");
    check(input);
}
