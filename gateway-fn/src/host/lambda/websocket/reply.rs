//! Builds the messages that a client receives for a request: its response as one message, or as several parts where it
//! exceeds API Gateway's limit for a message; or an error.
//!
//! Each part is a response by itself, with the header, parameters and routes of the whole response and some of its
//! documents, in their order. A mark says which part it is: in JSON `"part": {"index": 0, "of": 3}` beside Jina's keys,
//! in protobuf the same object as `parameters["__part__"]`. The whole response is any part without its mark, with the
//! documents of all parts.

use std::ops::Range;

use flowgate_proto::{DataRequest, docarray::DocumentProto};
use prost::Message as _;
use serde_json::json;

use super::{
    encode::{encode, encode_with},
    error::MessageError,
};
use crate::inbound::websocket::subprotocol::Subprotocol;

/// The messages that a client receives for one request.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) request_id: String,
    pub(super) format: Subprotocol,
    pub(super) messages: Vec<String>,
}

/// The limits for the messages of one response.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageLimits {
    /// The largest size of each message, in bytes.
    pub(super) message_bytes: usize,
    /// The largest number of messages.
    pub(super) parts: usize,
}

impl Reply {
    /// Returns a reply of one message.
    pub(super) fn message(request_id: String, format: Subprotocol, message: String) -> Self {
        Self {
            request_id,
            format,
            messages: vec![message],
        }
    }

    pub(super) fn error(request_id: String, format: Subprotocol, error: &MessageError) -> Self {
        let message = error.encode(&request_id, format);
        Self::message(request_id, format, message)
    }

    /// A response, or an error where it cannot be sent within the limits.
    pub(super) fn response(
        request_id: String,
        format: Subprotocol,
        response: DataRequest,
        limits: MessageLimits,
    ) -> Self {
        match encode_response(response, format, limits) {
            Ok(messages) => Self {
                request_id,
                format,
                messages,
            },
            Err(error) => Self::error(request_id, format, &error),
        }
    }
}

/// Encodes a response as one message or several.
///
/// # Errors
/// When it cannot be encoded, a document alone exceeds the limit for a message, or it needs too many parts.
fn encode_response(
    response: DataRequest,
    format: Subprotocol,
    limits: MessageLimits,
) -> Result<Vec<String>, MessageError> {
    let whole = encode(&response, format)?;
    if whole.len() <= limits.message_bytes {
        return Ok(vec![whole]);
    }
    let total_bytes = whole.len();
    drop(whole);
    Split::new(response, format, limits, total_bytes)?.encode_parts()
}

/// A response that is to be split.
struct Split {
    format: Subprotocol,
    limits: MessageLimits,
    /// The size of the whole response as one message, in bytes.
    total_bytes: usize,
    /// The size of an empty response's JSON, in bytes.
    empty_json_bytes: usize,
    /// The response without its documents.
    envelope: DataRequest,
    documents: Vec<DocumentProto>,
}

impl Split {
    fn new(
        mut response: DataRequest,
        format: Subprotocol,
        limits: MessageLimits,
        total_bytes: usize,
    ) -> Result<Self, MessageError> {
        let documents = std::mem::take(&mut response.documents).into_vec();
        let documents = documents.map_err(|error| {
            let limit = limits.message_bytes;
            MessageError::too_large(format!(
                "the response is {total_bytes} bytes, the limit for a message is {limit}, and the response cannot be \
                 split: {error}"
            ))
        })?;
        Ok(Self {
            format,
            limits,
            total_bytes,
            empty_json_bytes: encode(&DataRequest::default(), Subprotocol::Json)?.len(),
            envelope: response,
            documents,
        })
    }

    fn encode_parts(&self) -> Result<Vec<String>, MessageError> {
        let ranges = self.ranges()?;
        let number = ranges.len();
        if number > self.limits.parts {
            let (total, limit) = (self.total_bytes, self.limits.parts);
            return Err(MessageError::too_large(format!(
                "the response is {total} bytes and needs {number} messages; max_parts is {limit}"
            )));
        }
        let parts = ranges.into_iter().enumerate();
        parts
            .map(|(index, range)| self.encode_part(index, number, &self.documents[range]))
            .collect()
    }

    fn encode_part(
        &self,
        index: usize,
        number: usize,
        documents: &[DocumentProto],
    ) -> Result<String, MessageError> {
        let mut part = self.envelope.clone();
        part.documents = documents.to_vec().into();
        let mark = json!({"index": index, "of": number});
        Ok(encode_with(part, self.format, "part", mark)?)
    }

    /// Returns which documents go into which part: as many as fit, in their order.
    fn ranges(&self) -> Result<Vec<Range<usize>>, MessageError> {
        let limit = self.limits.message_bytes;
        let room = self.room()?;
        let mut ranges = Vec::new();
        let (mut start, mut used) = (0, 0);
        for (index, document) in self.documents.iter().enumerate() {
            let size = self.size(document)?;
            if size > room {
                return Err(MessageError::too_large(format!(
                    "document {index} of the response takes {size} bytes, and a message of {limit} bytes has room for \
                     {room}"
                )));
            }
            if used + size > room {
                ranges.push(start..index);
                (start, used) = (index, 0);
            }
            used += size;
        }
        ranges.push(start..self.documents.len());
        Ok(ranges)
    }

    /// Returns the bytes that a part has for documents, counted as [`Split::size`] counts them.
    fn room(&self) -> Result<usize, MessageError> {
        let limit = self.limits.message_bytes;
        let (available, envelope) = match self.format {
            Subprotocol::Json => (limit, encode(&self.envelope, self.format)?.len()),
            // Base64 has four characters for three bytes. The field `data` has a tag and a length too.
            Subprotocol::Bytes => (
                limit / 4 * 3,
                self.envelope.encoded_len() + 2 * MAX_FIELD_HEAD_BYTES,
            ),
        };
        available
            .checked_sub(envelope + MAX_MARK_BYTES)
            .ok_or_else(|| {
                MessageError::too_large(format!(
                    "the response without its documents is {envelope} bytes, and the limit for a message is {available}"
                ))
            })
    }

    /// Returns the largest number of bytes that a document adds to a part.
    fn size(&self, document: &DocumentProto) -> Result<usize, MessageError> {
        if self.format == Subprotocol::Bytes {
            return Ok(document.encoded_len() + MAX_FIELD_HEAD_BYTES);
        }
        let alone = DataRequest {
            documents: vec![document.clone()].into(),
            ..Default::default()
        };
        let bytes = encode(&alone, self.format)?.len();
        Ok(bytes.saturating_sub(self.empty_json_bytes) + SEPARATOR_BYTES)
    }
}

/// Bytes of a part's mark, at most, in either format.
const MAX_MARK_BYTES: usize = 128;

/// Bytes between two documents in JSON as Jina writes it to WebSockets: a comma and a blank.
const SEPARATOR_BYTES: usize = 2;

/// Bytes of a protobuf field's tag and length, at most.
const MAX_FIELD_HEAD_BYTES: usize = 11;

#[cfg(test)]
mod tests;
