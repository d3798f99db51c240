//! Puts gRPC's frame around messages and sends them in pieces, as fast as the peer takes them.

use bytes::{BufMut as _, Bytes, BytesMut};
use flowgate_proto::{Chunks, DataRequest};
use flowgate_server::{MinRate, budget::Held, http2};
use h2::SendStream;
use prost::Message as _;

use crate::compression::{Encoding, compress};

/// The length of what precedes a message: one byte that says whether it is compressed, and its length in four bytes ("gRPC
/// over HTTP2", "Length-Prefixed-Message").
pub const PREFIX_BYTES: usize = 5;

/// Up to this size a message is sent as one piece: copying is cheaper than another frame. From 16 KiB on HTTP/2 needs
/// several frames anyway.
const MAX_COPIED_BYTES: usize = 16 << 10;

/// Up to this size a message is passed to the connection at once, without waiting until the peer's window has room. It is
/// the default window of HTTP/2 (RFC 9113, section 6.5.2).
const MAX_UNASKED_BYTES: usize = 64 << 10;

/// Returns a message in its gRPC frame, compressed if an encoding is given.
#[must_use]
pub fn frame(message: Chunks, encoding: Option<Encoding>) -> Chunks {
    if let Some(encoding) = encoding {
        let compressed = compress(encoding, &message);
        return with_prefix(1, compressed.into());
    }
    with_prefix(0, message)
}

/// Returns a data request or response in its gRPC frame: a small one as one piece, a large one with its documents uncopied.
#[must_use]
pub fn frame_request(request: DataRequest) -> Chunks {
    let len = request.encoded_len();
    if len <= MAX_COPIED_BYTES {
        let mut buffer = BytesMut::with_capacity(PREFIX_BYTES + len);
        put_prefix(&mut buffer, 0, len);
        request.encode_raw(&mut buffer);
        return buffer.freeze().into();
    }
    let mut head = BytesMut::with_capacity(1 << 10);
    put_prefix(&mut head, 0, len);
    request.into_chunks(head)
}

fn with_prefix(flag: u8, message: Chunks) -> Chunks {
    let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
    put_prefix(&mut prefix, flag, message.len());
    let mut frame = Chunks::from(prefix.freeze());
    message.into_iter().for_each(|piece| frame.push(piece));
    frame
}

fn put_prefix(buffer: &mut BytesMut, flag: u8, len: usize) {
    buffer.put_u8(flag);
    // Limits of messages are far below 4 GiB, which the configuration enforces.
    buffer.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
}

/// Sends the only message of a call, and ends the stream. A large message waits for the peer's window, piece by piece.
///
/// # Errors
/// When the peer or the connection has ended the stream, or the peer takes nothing for a minute.
pub(crate) async fn send(stream: &mut SendStream<Bytes>, message: Chunks) -> Result<(), h2::Error> {
    let mut left = message.len();
    let waits = left > MAX_UNASKED_BYTES;
    for piece in message {
        left -= piece.len();
        if waits {
            http2::send_data(stream, piece, left == 0).await?;
        } else {
            stream.send_data(piece, left == 0)?;
        }
    }
    Ok(())
}

/// Sends an answer to a client, which must take it at this rate. Its bytes stay in the account until they have left, so that
/// answers which are not read do not pile up beside the budget.
///
/// # Errors
/// When the client or the connection has ended the stream, or the client is too slow.
pub async fn send_answer(
    stream: &mut SendStream<Bytes>,
    message: Chunks,
    mut held: Option<Held>,
    min_rate: MinRate,
) -> Result<(), h2::Error> {
    let len = message.len();
    if len <= MAX_COPIED_BYTES {
        stream.reserve_capacity(len);
        if stream.capacity() >= len {
            // Leaves with the connection's next write, and is not worth the allocation of an account.
            return message
                .into_iter()
                .try_for_each(|piece| stream.send_data(piece, false));
        }
    }
    let pieces = message.into_iter().map(|piece| match &mut held {
        Some(held) => held.split(piece.len()).attach(piece),
        None => piece,
    });
    http2::send_at_rate(stream, pieces, min_rate).await
}

#[cfg(test)]
mod tests;
