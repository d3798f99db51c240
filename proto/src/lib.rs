//! Jina's wire, for both sides of it: the protobuf messages and services, a request whose documents
//! stay bytes until somebody asks, and the JSON mapping of HTTP and WebSocket.
//!
//! The `.proto` files in `proto/jina/` carry Jina 3.13's packages, names, numbers and presence; the
//! code in `src/gen/` is made from them and committed, so that no build needs protoc.

pub mod array;

mod causes;

mod codec;

mod compression;

mod document;

pub mod invoke;

pub mod json;

pub mod limits;

mod parameters;

pub mod python;

mod request;

mod documents;

mod structure;

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
pub use codec::{JinaCodec, UNDECODABLE};
pub use compression::{Compression, UnknownCompression};
pub use document::{normalise, normalise_all};
pub use documents::{Documents, DocumentsError, give_ids};
pub use r#gen::{docarray, jina};
pub use parameters::Parameters;
pub use request::DataRequest;
pub use structure::{structure, value};

pub use prost::DecodeError;

/// The well-known types that Jina's messages are made of.
pub use prost_types::{ListValue, Struct, Timestamp, Value, value::Kind};

/// The `FileDescriptorSet` of `proto/jina/`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

/// The exec endpoint that a dry run asks for; every Executor answers it and does nothing.
pub const DRY_RUN_ENDPOINT: &str = "_jina_dry_run_";

/// The endpoint name under which an Executor lists its default handler.
pub const DEFAULT_ENDPOINT: &str = "/default";

/// The key of `parameters` under which handlers' results maps travel.
pub const RESULTS_KEY: &str = "__results__";

/// The name under which the Gateway stands in `routes`.
pub const GATEWAY_ROUTE: &str = "gateway";

/// The trailer whose presence says that an answer is an Executor's error.
pub const IS_ERROR_TRAILER: &str = "is-error";

/// The jina-proto version of Jina 3.13.2 that the messages here are compatible with.
pub const JINA_PROTO_VERSION: &str = "0.1.13";

/// A fresh id as Jina makes them: 16 random bytes as 32 lower-case hex digits.
#[must_use]
pub fn fresh_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
