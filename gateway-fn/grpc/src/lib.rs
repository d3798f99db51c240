//! gRPC over HTTP/2 for a proxy: messages stay in the frames in which they came, and no task or channel lies between a
//! request and its connection.
//!
//! ```text
//! client's stream -> messages -> (Gateway) -> send -> Executor's stream
//! ```

pub mod client;

mod compression;

mod frames;

mod messages;

mod send;

mod status;

#[cfg(test)]
mod test_stream;

pub use compression::{DecompressError, Encoding, compress, decompress, decompress_held};
pub use frames::{Frame, Frames, TooLarge};
pub use messages::{MessageError, Messages, Pieces};
pub use send::{PREFIX_BYTES, frame, frame_request, send_answer};
pub use status::{
    RETRY_AFTER_SECONDS, from_headers, may_have_run, to_trailers, with_may_have_run,
    with_retry_after,
};

pub use flowgate_server::{
    MinRate, available_memory, blocking,
    budget::{Budget, Held, OverBudget},
    http2::Exchange,
    wait_for_last_request, workers,
};
pub use h2;

/// Translates gRPC-Web, binary and text.
pub use tonic_web::GrpcWebLayer;
