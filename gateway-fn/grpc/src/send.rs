//! Puts gRPC's frame around messages and sends them in pieces, as fast as the peer takes them.

use bytes::{BufMut as _, Bytes, BytesMut};
use flowgate_proto::{Chunks, DataRequest};
use flowgate_server::http2;
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

/// Sends the only message of a stream, and ends the stream if `ends`. A large message waits for the peer's window, piece by
/// piece.
///
/// # Errors
/// When the peer or the connection has ended the stream, or the peer takes nothing for a minute.
pub async fn send(
    stream: &mut SendStream<Bytes>,
    message: Chunks,
    ends: bool,
) -> Result<(), h2::Error> {
    if message.len() > MAX_UNASKED_BYTES {
        return send_in_turn(stream, message, ends).await;
    }
    let mut left = message.len();
    for piece in message {
        left -= piece.len();
        stream.send_data(piece, ends && left == 0)?;
    }
    Ok(())
}

/// Sends one of many messages of a stream. Each waits for the peer's window, so that messages do not pile up for a peer
/// that does not read.
///
/// # Errors
/// The same as [`send`].
pub async fn send_in_turn(
    stream: &mut SendStream<Bytes>,
    message: Chunks,
    ends: bool,
) -> Result<(), h2::Error> {
    let mut left = message.len();
    for piece in message {
        left -= piece.len();
        http2::send_data(stream, piece, ends && left == 0).await?;
    }
    Ok(())
}
