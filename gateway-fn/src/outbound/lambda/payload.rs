//! A request -> the payloads that carry it: one as the Flow compresses, else one compressed, else one for each part
//! of its documents. And a payload back -> the message in it.

use flowgate_proto::{
    Compression, DataRequest,
    invoke::{Invocation, InvocationResponse},
    jina::DataRequestListProto,
};
use prost::Message;

use super::{
    fault::{InvokeFault, NotSplittable},
    split::halved,
};

/// One payload, and how large the message in it is.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) invocation: Invocation<'static>,
    pub(super) raw_bytes: usize,
}

/// How a request travels.
#[derive(Debug)]
pub(super) enum Load {
    Whole(Piece),
    /// Part by part, in the order of the documents; and the request, for an answer that is an error.
    Split {
        request: Box<DataRequest>,
        pieces: Vec<Piece>,
    },
}

/// What a payload may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ladder {
    /// The Flow's, for a request that needs no other.
    pub(super) compression: Compression,
    /// Bytes of a payload's body.
    pub(super) room: usize,
    /// Invocations that one request may take.
    pub(super) max_parts: usize,
}

/// A message in an answer.
#[derive(Debug)]
pub(super) struct Received<M> {
    pub(super) message: M,
    pub(super) is_error: bool,
}

impl Ladder {
    /// Takes the first rung that the request fits.
    pub(super) fn climb(self, parts: Vec<DataRequest>) -> Result<Load, InvokeFault> {
        let list = DataRequestListProto { requests: parts };
        let bytes = match self.fit(&list)? {
            Ok(piece) => return Ok(Load::Whole(piece)),
            Err(bytes) => bytes,
        };
        let [request] = <[DataRequest; 1]>::try_from(list.requests)
            .map_err(|_| self.too_large(bytes, NotSplittable::Join))?;
        let pieces = halved(&request, self.max_parts, |part| {
            let list = DataRequestListProto {
                requests: vec![part],
            };
            self.fit(&list)
        });
        match pieces? {
            Ok(pieces) => Ok(Load::Split {
                request: Box::new(request),
                pieces,
            }),
            Err(refused) => {
                Err(self.too_large(refused.bytes.unwrap_or(bytes), refused.not_splittable))
            }
        }
    }

    /// The payload of a list that fits one; else the bytes that it would take.
    fn fit(self, list: &DataRequestListProto) -> Result<Result<Piece, usize>, InvokeFault> {
        let message = list.encode_to_vec();
        let mut fewest = usize::MAX;
        for &compression in self.rungs() {
            // Base64 makes four bytes of three: what cannot fit need not be written.
            let plain = message.len().div_ceil(3).saturating_mul(4);
            if compression == Compression::None && plain > self.room {
                fewest = plain;
                continue;
            }
            let invocation =
                Invocation::process(&message, compression).map_err(InvokeFault::Unwritable)?;
            if invocation.body_len() <= self.room {
                let raw_bytes = message.len();
                return Ok(Ok(Piece {
                    invocation,
                    raw_bytes,
                }));
            }
            fewest = fewest.min(invocation.body_len());
        }
        Ok(Err(fewest))
    }

    /// What is not compressed by the Flow's wish is compressed when it must be, by what is best at it.
    const fn rungs(self) -> &'static [Compression] {
        match self.compression {
            Compression::None => &[Compression::None, Compression::Zstd],
            Compression::Gzip => &[Compression::Gzip],
            Compression::Deflate => &[Compression::Deflate],
            Compression::Zstd => &[Compression::Zstd],
        }
    }

    const fn too_large(self, bytes: usize, not_splittable: NotSplittable) -> InvokeFault {
        InvokeFault::RequestTooLarge {
            bytes,
            limit: self.room,
            not_splittable,
        }
    }
}

/// Reads a function's answer; `limit` is how many bytes the message may be when it is decompressed.
pub(super) fn read<M: Message + Default>(
    payload: &[u8],
    limit: usize,
) -> Result<Received<M>, InvokeFault> {
    let answer = match std::str::from_utf8(payload) {
        Ok("" | "null") => return Err(InvokeFault::NoPayload),
        Ok(text) => InvocationResponse::from_json(text)?,
        // JSON is UTF-8; the reader says so better.
        Err(_) => InvocationResponse::from_json(BROKEN)?,
    };
    Ok(Received {
        message: answer.decode_message(limit)?,
        is_error: answer.is_error,
    })
}

/// No JSON.
const BROKEN: &str = "\u{fffd}";

#[cfg(test)]
mod tests;
