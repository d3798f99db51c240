//! Plans the payloads of a request: one payload, compressed if needed, else one for each chunk of its documents. Reads
//! the payloads of answers.

use flowgate_proto::{
    Compression, DataRequest,
    invoke::{Invocation, InvocationResponse},
    jina::DataRequestListProto,
};
use prost::Message;

use super::{
    error::{InvokeError, NotSplittable},
    split::{Encoded, split_by_halves},
};

/// One payload.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) invocation: Invocation<'static>,
    /// Bytes of the message before compression.
    pub(super) raw_bytes: usize,
}

/// The payloads of a request.
#[derive(Debug)]
pub(super) enum PayloadPlan {
    Whole(Chunk),
    Split {
        /// The request itself, which an answer that is an error needs.
        request: Box<DataRequest>,
        /// The chunks, in the order of the documents.
        chunks: Vec<Chunk>,
    },
}

/// The limits of payloads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planner {
    /// The Flow's compression.
    pub(super) compression: Compression,
    /// The largest body of a payload, in bytes.
    pub(super) max_body_bytes: usize,
    /// The largest number of invocations for one request.
    pub(super) max_parts: usize,
}

/// A message from an answer.
#[derive(Debug)]
pub(super) struct Received<M> {
    pub(super) message: M,
    pub(super) is_error: bool,
    /// The Executor's endpoints, if the invocation asked for them and the function knows how to list them.
    pub(super) endpoints: Option<Vec<String>>,
}

impl Planner {
    /// Plans the payloads of one request with these parts.
    pub(super) fn plan(self, parts: Vec<DataRequest>) -> Result<PayloadPlan, InvokeError> {
        let list = DataRequestListProto { requests: parts };
        let bytes = match self.encode(&list)? {
            Encoded::Fits(chunk) => return Ok(PayloadPlan::Whole(chunk)),
            Encoded::TooLarge { bytes } => bytes,
        };
        let [request] = <[DataRequest; 1]>::try_from(list.requests)
            .map_err(|_| self.too_large(bytes, NotSplittable::Join))?;
        let chunks = split_by_halves(&request, self.max_parts, |part| {
            let requests = vec![part];
            self.encode(&DataRequestListProto { requests })
        });
        match chunks? {
            Ok(chunks) => Ok(PayloadPlan::Split {
                request: Box::new(request),
                chunks,
            }),
            Err(error) => Err(self.too_large(error.bytes.unwrap_or(bytes), error.reason)),
        }
    }

    /// Encodes a list of requests with the first compression that makes it fit.
    fn encode(self, list: &DataRequestListProto) -> Result<Encoded<Chunk>, InvokeError> {
        let message = list.encode_to_vec();
        let mut min_bytes = usize::MAX;
        for &compression in self.candidates() {
            // Base64 makes four bytes of three: a body that cannot fit need not be written.
            let plain_bytes = message.len().div_ceil(3).saturating_mul(4);
            if compression == Compression::None && plain_bytes > self.max_body_bytes {
                min_bytes = plain_bytes;
                continue;
            }
            let invocation =
                Invocation::process(&message, compression).map_err(InvokeError::Encode)?;
            if invocation.body_len() <= self.max_body_bytes {
                let raw_bytes = message.len();
                return Ok(Encoded::Fits(Chunk {
                    invocation,
                    raw_bytes,
                }));
            }
            min_bytes = min_bytes.min(invocation.body_len());
        }
        Ok(Encoded::TooLarge { bytes: min_bytes })
    }

    /// The compressions to try. A Flow without compression gets the best one for requests that do not fit otherwise.
    const fn candidates(self) -> &'static [Compression] {
        match self.compression {
            Compression::None => &[Compression::None, Compression::Zstd],
            Compression::Gzip => &[Compression::Gzip],
            Compression::Deflate => &[Compression::Deflate],
            Compression::Zstd => &[Compression::Zstd],
        }
    }

    const fn too_large(self, bytes: usize, reason: NotSplittable) -> InvokeError {
        InvokeError::RequestTooLarge {
            bytes,
            limit: self.max_body_bytes,
            reason,
        }
    }
}

/// Reads a function's answer. `max_bytes` bounds the decompressed message.
pub(super) fn read<M: Message + Default>(
    payload: &[u8],
    max_bytes: usize,
) -> Result<Received<M>, InvokeError> {
    let answer = match std::str::from_utf8(payload) {
        Ok("" | "null") => return Err(InvokeError::NoPayload),
        Ok(text) => InvocationResponse::from_json(text)?,
        // JSON is UTF-8: the reader's own error says so.
        Err(_) => InvocationResponse::from_json(INVALID_JSON)?,
    };
    Ok(Received {
        message: answer.decode_message(max_bytes)?,
        is_error: answer.is_error,
        endpoints: answer.endpoints,
    })
}

const INVALID_JSON: &str = "\u{fffd}";

#[cfg(test)]
mod tests;
