//! The response of an Executor's function to an invocation, compressed further when it is too large for a
//! payload.

use std::io;

use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    PayloadError, VERSION, body,
    lenient::{self, Body, body_text},
    read_version,
};
use crate::Compression;

/// The response of an Executor's function to an [`Invocation`](super::Invocation).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvocationResponse<'a> {
    flowgate: u64,
    /// Whether the Executor itself failed: the trailer `is-error` of gRPC.
    #[serde(
        default,
        deserialize_with = "lenient::null_as_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_error: bool,
    #[serde(default, with = "body::encoding")]
    encoding: Compression,
    #[serde(borrow, default)]
    body: Option<Body<'a>>,
    /// The Executor's endpoints, if the invocation asked for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<String>>,
}

/// What a response says beside its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseInfo {
    /// Whether the Executor itself failed.
    pub is_error: bool,
    /// The Executor's endpoints, if the invocation asked for them.
    pub endpoints: Option<Vec<String>>,
}

/// Why a response cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// The response is too large even when compressed.
    #[error(
        "the response of {bytes} bytes needs a payload of {smallest} bytes when compressed; Lambda allows {limit}"
    )]
    TooLarge {
        /// The size of the message.
        bytes: usize,
        /// The size of the smallest payload that was tried.
        smallest: usize,
        /// The size of the largest allowed payload.
        limit: usize,
    },
    /// The compression failed, which does not happen for bytes in memory.
    #[error("cannot encode the response")]
    Compression(#[from] io::Error),
}

impl<'a> InvocationResponse<'a> {
    /// Creates a response whose body is the encoded `message`.
    ///
    /// # Errors
    /// When the compression fails, which does not happen for bytes in memory.
    pub fn new(message: &[u8], compression: Compression, is_error: bool) -> io::Result<Self> {
        Ok(Self {
            flowgate: VERSION,
            is_error,
            encoding: compression,
            body: Some(Body(body::encode(message, compression)?.into())),
            endpoints: None,
        })
    }

    /// Encodes a response in at most `limit` bytes: compressed by `encoding`, which should be the request's,
    /// or by zstd if that exceeds the limit.
    ///
    /// # Errors
    /// When the response exceeds the limit with either compression.
    pub fn encode_within_limit(
        message: &[u8],
        encoding: Compression,
        info: &ResponseInfo,
        limit: usize,
    ) -> Result<Box<RawValue>, ResponseError> {
        let mut smallest = base64_len(message.len());
        let skip_requested = encoding == Compression::None && smallest > limit;
        let requested = (!skip_requested).then_some(encoding);
        let stronger = (encoding != Compression::Zstd).then_some(Compression::Zstd);
        for encoding in requested.into_iter().chain(stronger) {
            let response = InvocationResponse {
                endpoints: info.endpoints.clone(),
                ..InvocationResponse::new(message, encoding, info.is_error)?
            };
            let json = to_raw_value(&response).map_err(io::Error::from)?;
            let bytes = json.get().len();
            if bytes <= limit {
                return Ok(json);
            }
            smallest = smallest.min(bytes);
        }
        Err(ResponseError::TooLarge {
            bytes: message.len(),
            smallest,
            limit,
        })
    }

    /// Parses the response of a function.
    ///
    /// # Errors
    /// When it is not a response of this version.
    pub fn from_json(text: &'a str) -> Result<Self, PayloadError> {
        match read_version(text)? {
            Some(VERSION) => serde_json::from_str(text).map_err(PayloadError::Malformed),
            Some(version) => Err(PayloadError::UnsupportedVersion { version }),
            None => Err(PayloadError::MissingVersion),
        }
    }

    /// Decodes the message in the body, which may have at most `limit` bytes when decompressed.
    ///
    /// # Errors
    /// When the body is missing, malformed or exceeds the limit. An empty body is missing too: no call is answered by an
    /// empty message.
    pub fn decode_message<M: Message + Default>(&self, limit: usize) -> Result<M, PayloadError> {
        let body = body_text(self.body.as_ref()).ok_or(PayloadError::MissingBody)?;
        body::decode(body, self.encoding, limit)
    }

    /// Encodes the payload.
    ///
    /// # Errors
    /// Never for the values of this type; serde's signature has one.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

const fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3).saturating_mul(4)
}
