//! The payload of a direct Lambda invocation, for both sides of it: what `INVOKE.md` beside this crate describes.
//!
//! A payload of version 1 is a JSON object with the key `flowgate`; protobuf travels in it as base64, compressed or not.
//! A payload without that key is a person's plain JSON, and none of this module's business.

mod body;

mod fault;

mod fit;

use std::{borrow::Cow, collections::BTreeMap};

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::{Compression, DataRequest, jina::DataRequestListProto};

pub use body::{compress, decompress};
pub use fault::{FaultKind, FunctionFault, PayloadError};
pub use fit::AnswerError;

/// The version that is written here, and the only one that is read.
pub const VERSION: u64 = 1;

/// What an invocation asks of an Executor's function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// The body is a `jina.DataRequestListProto`, the answer's a `jina.DataRequestProto`.
    Process,
    /// No body; the answer's is a `jina.EndpointsProto`.
    Endpoints,
    /// No body; the answer's is a `jina.JinaInfoProto`.
    Status,
}

/// One invocation of an Executor's function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invocation<'a> {
    flowgate: u64,
    /// What is asked.
    pub call: Call,
    /// How the body is compressed.
    #[serde(default, with = "body::encoding")]
    encoding: Compression,
    /// Base64.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    body: Cow<'a, str>,
    /// Milliseconds since 1970 after which nobody waits for the answer any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// The trace that the call is part of: `traceparent` and `tracestate`, as W3C Trace Context has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trace: BTreeMap<String, String>,
}

/// What an Executor's function answers to an [`Invocation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer<'a> {
    flowgate: u64,
    /// Whether the Executor itself failed: over gRPC the trailer `is-error`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
    #[serde(default, with = "body::encoding")]
    encoding: Compression,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    body: Cow<'a, str>,
}

/// What a function was sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// By a Gateway.
    Invocation(Invocation<'a>),
    /// By hand: the JSON of an HTTP request's body.
    Json(&'a str),
}

impl<'a> Payload<'a> {
    /// Reads what a function was sent.
    ///
    /// # Errors
    /// When it is no JSON object, or one of a version or shape that nobody here knows.
    pub fn read(text: &'a str) -> Result<Self, PayloadError> {
        match version(text)? {
            None => Ok(Self::Json(text)),
            Some(VERSION) => serde_json::from_str(text)
                .map(Self::Invocation)
                .map_err(PayloadError::Shape),
            Some(version) => Err(PayloadError::Version { version }),
        }
    }
}

impl Invocation<'_> {
    /// A call without a body.
    #[must_use]
    pub const fn of(call: Call) -> Self {
        Self {
            flowgate: VERSION,
            call,
            encoding: Compression::None,
            body: Cow::Borrowed(""),
            deadline: None,
            trace: BTreeMap::new(),
        }
    }

    /// The parts of one request to be processed. `list` is a `jina.DataRequestListProto`, encoded.
    ///
    /// # Errors
    /// When the compression fails, which none does on bytes in memory.
    pub fn process(list: &[u8], compression: Compression) -> std::io::Result<Self> {
        Ok(Self {
            encoding: compression,
            body: body::write(list, compression)?.into(),
            ..Self::of(Call::Process)
        })
    }

    /// The requests in the body; `limit` is how many bytes they may be when they are decompressed.
    ///
    /// # Errors
    /// When the body is not what it says, or larger.
    pub fn requests(&self, limit: usize) -> Result<Vec<DataRequest>, PayloadError> {
        body::read::<DataRequestListProto>(&self.body, self.encoding, limit)
            .map(|list| list.requests)
    }

    /// How the body is compressed; the answer is best compressed alike.
    #[must_use]
    pub const fn encoding(&self) -> Compression {
        self.encoding
    }

    /// Bytes of the body as it travels: base64 needs no escaping in JSON.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// As it travels.
    ///
    /// # Errors
    /// Never for what this type holds; the writer's signature has one.
    pub fn write(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

impl<'a> Answer<'a> {
    /// An answer whose body is `message`, encoded.
    ///
    /// # Errors
    /// When the compression fails, which none does on bytes in memory.
    pub fn of(message: &[u8], compression: Compression, is_error: bool) -> std::io::Result<Self> {
        Ok(Self {
            flowgate: VERSION,
            is_error,
            encoding: compression,
            body: body::write(message, compression)?.into(),
        })
    }

    /// Reads what a function answered.
    ///
    /// # Errors
    /// When it is no answer of this version.
    pub fn read(text: &'a str) -> Result<Self, PayloadError> {
        match version(text)? {
            Some(VERSION) => serde_json::from_str(text).map_err(PayloadError::Shape),
            Some(version) => Err(PayloadError::Version { version }),
            None => Err(PayloadError::NoAnswer),
        }
    }

    /// The message in the body; `limit` is how many bytes it may be when it is decompressed.
    ///
    /// # Errors
    /// When the body is not what it says, or larger.
    pub fn message<M: Message + Default>(&self, limit: usize) -> Result<M, PayloadError> {
        body::read(&self.body, self.encoding, limit)
    }

    /// As it travels.
    ///
    /// # Errors
    /// Never for what this type holds; the writer's signature has one.
    pub fn write(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

/// The value of `flowgate`, if the object has the key.
fn version(text: &str) -> Result<Option<u64>, PayloadError> {
    #[derive(Deserialize)]
    struct Version {
        flowgate: Option<u64>,
    }
    let version: Version = serde_json::from_str(text).map_err(PayloadError::Shape)?;
    Ok(version.flowgate)
}

#[cfg(test)]
mod tests;
