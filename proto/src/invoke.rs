//! Request and response payloads of a direct Lambda invocation, for caller and function, as `INVOKE.md` in this crate
//! specifies them.
//!
//! A payload of version 1 is a JSON object with the key `flowgate` and a protobuf message in base64, optionally
//! compressed. A payload without that key is returned as plain JSON, which the function interprets.

mod body;

mod error;

mod lenient;

mod response;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use self::lenient::{Body, body_text};

use crate::{Compression, DataRequest, jina::DataRequestListProto};

pub use body::{compress, decompress, decompress_counted};
pub use error::{FunctionError, FunctionErrorKind, PayloadError};
pub use response::{InvocationResponse, ResponseError, ResponseInfo};

/// The payload version that this module writes, and the only one that it reads.
pub const VERSION: u64 = 1;

/// The operation that an invocation requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Process requests. The body is a `jina.DataRequestListProto`, the response's body a `jina.DataRequestProto`.
    Process,
    /// List the endpoints. No body; the response's body is a `jina.EndpointsProto`.
    Endpoints,
    /// Return the status. No body; the response's body is a `jina.JinaInfoProto`.
    Status,
}

/// One invocation of an Executor's function.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invocation<'a> {
    flowgate: u64,
    /// The requested operation.
    pub call: Call,
    /// How the body is compressed.
    #[serde(default, with = "body::encoding")]
    encoding: Compression,
    /// The message in base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    body: Option<Body<'a>>,
    /// When the caller stops waiting for the response, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// The trace context of the call: `traceparent` and `tracestate` of W3C Trace Context.
    #[serde(
        default,
        deserialize_with = "lenient::texts",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub trace: BTreeMap<String, String>,
    /// Whether the response of [`Call::Process`] should list the Executor's endpoints, which saves the caller an
    /// invocation with [`Call::Endpoints`].
    #[serde(
        default,
        deserialize_with = "lenient::null_as_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub list_endpoints: bool,
    /// The name of the Executor in the caller's Flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// What the caller's Flow passes on to the Executor: its `grpc_metadata`. Names are in lower case.
    #[serde(
        default,
        deserialize_with = "lenient::texts",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub metadata: BTreeMap<String, String>,
}

/// The payload of an invocation, as a function receives it.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// An invocation by a Gateway.
    Invocation(Invocation<'a>),
    /// Plain JSON, as in the body of an HTTP request: an invocation by hand.
    Json(&'a str),
}

impl<'a> Payload<'a> {
    /// Parses the payload of an invocation.
    ///
    /// # Errors
    /// When it is not a JSON object, has another version, or has an invalid value.
    pub fn parse(text: &'a str) -> Result<Self, PayloadError> {
        match read_version(text)? {
            None => Ok(Self::Json(text)),
            Some(VERSION) => serde_json::from_str(text)
                .map(Self::Invocation)
                .map_err(PayloadError::Malformed),
            Some(version) => Err(PayloadError::UnsupportedVersion { version }),
        }
    }
}

impl Invocation<'_> {
    /// Creates an invocation without a body.
    #[must_use]
    pub const fn new(call: Call) -> Self {
        Self {
            flowgate: VERSION,
            call,
            encoding: Compression::None,
            body: None,
            deadline: None,
            trace: BTreeMap::new(),
            list_endpoints: false,
            executor: None,
            metadata: BTreeMap::new(),
        }
    }

    /// Creates an invocation that processes requests. `list` is an encoded `jina.DataRequestListProto`.
    ///
    /// # Errors
    /// When the compression fails, which does not happen for bytes in memory.
    pub fn process(list: &[u8], compression: Compression) -> std::io::Result<Self> {
        Ok(Self {
            encoding: compression,
            body: Some(Body(body::encode(list, compression)?.into())),
            ..Self::new(Call::Process)
        })
    }

    /// Decodes the requests in the body, which may have at most `limit` bytes when decompressed.
    ///
    /// # Errors
    /// When the body is missing, malformed or larger than the limit, or has no request.
    pub fn decode_requests(&self, limit: usize) -> Result<Vec<DataRequest>, PayloadError> {
        let body = body_text(self.body.as_ref()).ok_or(PayloadError::MissingBody)?;
        let list: DataRequestListProto = body::decode(body, self.encoding, limit)?;
        match list.requests.is_empty() {
            true => Err(PayloadError::NoRequests),
            false => Ok(list.requests),
        }
    }

    /// Returns how the body is compressed; the response should be compressed alike.
    #[must_use]
    pub const fn encoding(&self) -> Compression {
        self.encoding
    }

    /// Returns the size of the body in the payload in bytes. Base64 needs no escaping in JSON.
    #[must_use]
    pub fn body_len(&self) -> usize {
        body_text(self.body.as_ref()).map_or(0, str::len)
    }

    /// Encodes the payload.
    ///
    /// # Errors
    /// Never for the values of this type; serde's signature has one.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

/// Leaves out the body and the values of the metadata, which may be secrets.
impl fmt::Debug for Invocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata: Vec<_> = self.metadata.keys().collect();
        f.debug_struct("Invocation")
            .field("call", &self.call)
            .field("encoding", &self.encoding)
            .field("deadline", &self.deadline)
            .field("trace", &self.trace)
            .field("executor", &self.executor)
            .field("metadata", &metadata)
            .finish_non_exhaustive()
    }
}

/// Returns the value of the key `flowgate`, if the object has the key.
fn read_version(text: &str) -> Result<Option<u64>, PayloadError> {
    #[derive(Deserialize)]
    struct Version {
        flowgate: Option<u64>,
    }
    let version: Version = serde_json::from_str(text).map_err(PayloadError::Malformed)?;
    Ok(version.flowgate)
}

#[cfg(test)]
mod tests;
