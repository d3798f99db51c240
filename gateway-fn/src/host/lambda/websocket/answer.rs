//! An answer -> the messages that carry it: one, or several parts where a WebSocket API takes no message so long.
//!
//! Each part is an answer by itself, with header, parameters and routes of the whole and some of its documents, in
//! their order. It is marked: in JSON by `"part": {"index": 0, "of": 3}` beside Jina's keys, in protobuf by the same
//! under `parameters["__part__"]`. The whole is any part without its mark, with the documents of all.

use std::ops::Range;

use base64::Engine as _;
use flowgate_proto::{DataRequest, Kind, Value, docarray::DocumentProto, json, structure};
use prost::Message as _;
use serde_json::json;

use super::{fault::Fault, message::BASE64};
use crate::inbound::websocket::subprotocol::Subprotocol;

/// What the messages of one answer may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of each.
    pub(super) message_bytes: usize,
    /// How many.
    pub(super) parts: usize,
}

/// Writes an answer.
///
/// # Errors
/// When it cannot be written, a document alone is too large for a message, or there are too many parts.
pub(super) fn write(
    answer: DataRequest,
    form: Subprotocol,
    bounds: Bounds,
) -> Result<Vec<String>, Fault> {
    let whole = text(&answer, form)?;
    if whole.len() <= bounds.message_bytes {
        return Ok(vec![whole]);
    }
    let total = whole.len();
    drop(whole);
    Split::of(answer, form, bounds, total)?.write()
}

/// A protobuf message as text.
pub(super) fn base64(answer: &DataRequest) -> String {
    BASE64.encode(answer.encode_to_vec())
}

/// A JSON object that is not empty, with one more member at its end.
pub(super) fn with_member(mut object: String, key: &str, value: &serde_json::Value) -> String {
    object.truncate(object.trim_end().len().saturating_sub(1));
    object.push_str(&format!(",\"{key}\":{value}}}"));
    object
}

fn text(answer: &DataRequest, form: Subprotocol) -> Result<String, Fault> {
    match form {
        Subprotocol::Bytes => Ok(base64(answer)),
        Subprotocol::Json => {
            json::write_websocket(answer).map_err(|error| Fault::internal(error.to_string()))
        }
    }
}

/// An answer about to be split.
struct Split {
    form: Subprotocol,
    bounds: Bounds,
    /// Bytes of the whole.
    total: usize,
    /// Bytes of JSON around documents that have nothing else.
    around: usize,
    /// The answer without its documents.
    envelope: DataRequest,
    documents: Vec<DocumentProto>,
}

impl Split {
    fn of(
        mut answer: DataRequest,
        form: Subprotocol,
        bounds: Bounds,
        total: usize,
    ) -> Result<Self, Fault> {
        let documents = std::mem::take(&mut answer.documents).into_vec();
        let documents = documents.map_err(|error| {
            let most = bounds.message_bytes;
            Fault::too_large(format!(
                "the answer is {total} bytes, a message at most {most}, and it cannot be split: {error}"
            ))
        })?;
        Ok(Self {
            form,
            bounds,
            total,
            around: text(&DataRequest::default(), Subprotocol::Json)?.len(),
            envelope: answer,
            documents,
        })
    }

    fn write(&self) -> Result<Vec<String>, Fault> {
        let ranges = self.ranges()?;
        if ranges.len() > self.bounds.parts {
            let (total, needed, most) = (self.total, ranges.len(), self.bounds.parts);
            return Err(Fault::too_large(format!(
                "the answer is {total} bytes, which is {needed} messages; max_parts is {most}"
            )));
        }
        let of = ranges.len();
        let parts = ranges.into_iter().enumerate();
        parts
            .map(|(index, range)| self.part(index, of, &self.documents[range]))
            .collect()
    }

    fn part(&self, index: usize, of: usize, documents: &[DocumentProto]) -> Result<String, Fault> {
        let mut part = self.envelope.clone();
        part.documents = documents.to_vec().into();
        let mark = json!({"index": index, "of": of});
        match self.form {
            Subprotocol::Json => {
                text(&part, self.form).map(|text| with_member(text, "part", &mark))
            }
            Subprotocol::Bytes => {
                let parameters = part.parameters.decode();
                let mut parameters =
                    parameters.map_err(|error| Fault::internal(error.to_string()))?;
                let mark = Value {
                    kind: structure(mark).map(Kind::StructValue),
                };
                parameters.fields.insert(PART_KEY.to_owned(), mark);
                part.parameters = parameters.into();
                Ok(base64(&part))
            }
        }
    }

    /// Which documents go together: as many as fit, one behind the other.
    fn ranges(&self) -> Result<Vec<Range<usize>>, Fault> {
        let most = self.bounds.message_bytes;
        let room = self.room()?;
        let mut ranges = Vec::new();
        let (mut start, mut held) = (0, 0);
        for (index, document) in self.documents.iter().enumerate() {
            let size = self.size(document)?;
            if size > room {
                return Err(Fault::too_large(format!(
                    "document {index} of the answer takes {size} bytes, and a message of {most} has room for {room}"
                )));
            }
            if held + size > room {
                ranges.push(start..index);
                (start, held) = (index, 0);
            }
            held += size;
        }
        ranges.push(start..self.documents.len());
        Ok(ranges)
    }

    /// Bytes that a part has for documents, as [`Split::size`] counts them.
    fn room(&self) -> Result<usize, Fault> {
        let most = self.bounds.message_bytes;
        let (most, envelope) = match self.form {
            Subprotocol::Json => (most, text(&self.envelope, self.form)?.len()),
            // Four characters for three bytes. `data` has a head of its own.
            Subprotocol::Bytes => (most / 4 * 3, self.envelope.encoded_len() + 2 * HEAD),
        };
        most.checked_sub(envelope + MARK).ok_or_else(|| {
            Fault::too_large(format!(
                "the answer without its documents is {envelope} bytes, and a message at most {most}"
            ))
        })
    }

    /// Bytes that a document adds to a part, at most.
    fn size(&self, document: &DocumentProto) -> Result<usize, Fault> {
        if self.form == Subprotocol::Bytes {
            return Ok(document.encoded_len() + HEAD);
        }
        let alone = DataRequest {
            documents: vec![document.clone()].into(),
            ..Default::default()
        };
        let size = text(&alone, self.form)?.len().saturating_sub(self.around);
        Ok(size + SEPARATOR)
    }
}

/// The key of `parameters` under which a protobuf message is marked as a part.
const PART_KEY: &str = "__part__";

/// Bytes that a mark takes at most, in either form.
const MARK: usize = 128;

/// Bytes between two documents in JSON as Jina's WebSockets have it, a comma and a blank.
const SEPARATOR: usize = 2;

/// Bytes of a protobuf field's number and length, at most.
const HEAD: usize = 11;

#[cfg(test)]
mod tests;
