//! The parsed body of a client's request.

use super::Json;
use crate::{
    decode_limits::{Budget, DecodeLimits},
    docarray::DocumentProto,
};

/// The body of a client's request, parsed by [`super::parse_request`].
#[derive(Clone, Debug)]
pub struct RequestBody<'m> {
    /// The whole body. The list under `data` is empty if `documents` has its documents.
    pub(super) json: Json,
    /// The documents under `data`, which are all valid. `None` if `data` is not a list of valid documents.
    pub(super) documents: Option<Vec<DocumentProto>>,
    /// What is left of the limits for converting `json`.
    pub(super) budget: Budget<'m>,
    /// The memory of `documents`.
    pub(super) document_bytes: usize,
}

impl RequestBody<'_> {
    /// Returns the body for looking at other keys than `data`, whose documents may be missing.
    #[must_use]
    pub const fn json(&self) -> &Json {
        &self.json
    }
}

impl From<Json> for RequestBody<'static> {
    fn from(json: Json) -> Self {
        Self {
            json,
            documents: None,
            budget: Budget::new(DecodeLimits::default()),
            document_bytes: 0,
        }
    }
}
