//! The Jina protocol as both Gateway and Executors use it: protobuf messages and services, requests
//! that keep their documents encoded until a caller decodes them, and the JSON of HTTP and WebSocket.
//!
//! The `.proto` files in `proto/jina/` have the packages, names, field numbers and presence of Jina
//! 3.13. The code in `src/gen/` is generated from them and committed, so that no build needs protoc.

pub mod array;

mod causes;

mod chunks;

mod codec;

mod compression;

mod decode_limits;

mod document;

mod document_count;

pub mod invoke;

pub mod json;

pub mod limits;

mod parameters;

pub mod python;

mod request;

mod documents;

mod protobuf_struct;

mod wire;

#[cfg(test)]
mod regenerate;

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::restriction,
    clippy::pedantic,
    clippy::nursery,
    reason = "made by tonic-prost-build; see regenerate.rs"
)]
mod r#gen {
    pub mod docarray {
        include!("gen/docarray.rs");
    }
    pub mod jina {
        include!("gen/jina.rs");
    }
}

pub use causes::{causes, with_causes};
pub use chunks::Chunks;
pub use codec::{DECODE_ERROR_PREFIX, JinaCodec};
pub use compression::{Compression, UnknownCompression};
pub use decode_limits::{
    DECODED_BYTES_PER_MESSAGE_BYTE, DEFAULT_MAX_DOCUMENTS, DecodeLimits, DecodedMemory,
    LimitExceeded,
};
pub use document::{normalize, normalize_all, normalize_shared};
pub use documents::{Documents, DocumentsError, assign_missing_ids};
pub use r#gen::{docarray, jina};
pub use parameters::Parameters;
pub use protobuf_struct::{struct_from_json, value_from_json};
pub use request::DataRequest;

pub use prost::DecodeError;

/// The well-known protobuf types that Jina's messages contain.
pub use prost_types::{ListValue, Struct, Timestamp, Value, value::Kind};

/// The encoded `FileDescriptorSet` of `proto/jina/`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptors.bin");

/// The exec endpoint of a dry run. Every Executor answers it without calling a handler.
pub const DRY_RUN_ENDPOINT: &str = "_jina_dry_run_";

/// The endpoint name under which an Executor lists its default handler.
pub const DEFAULT_ENDPOINT: &str = "/default";

/// The key of `parameters` that carries the handlers' results.
pub const RESULTS_KEY: &str = "__results__";

/// The Gateway's name in `routes`.
pub const GATEWAY_ROUTE: &str = "gateway";

/// The gRPC trailer that marks a response as an Executor's error.
pub const IS_ERROR_TRAILER: &str = "is-error";

/// The gRPC trailer with which a Gateway of this project marks UNAVAILABLE if an Executor may have run the call, so that a
/// Gateway in front of it does not repeat the work. Other clients ignore it.
pub const MAY_HAVE_RUN_TRAILER: &str = "flowgate-may-have-run";

/// The jina-proto version of Jina 3.13.2, with which the messages are compatible.
pub const JINA_PROTO_VERSION: &str = "0.1.13";

/// Generates an id in Jina's format: 16 random bytes as 32 lower-case hex digits.
#[must_use]
pub fn generate_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Returns the time for `routes`, in whole microseconds as Jina's: clients read them with Python's `strptime`, which takes no
/// nanoseconds.
#[must_use]
pub fn now() -> Timestamp {
    let mut now = Timestamp::from(std::time::SystemTime::now());
    now.nanos -= now.nanos % 1000;
    now
}
