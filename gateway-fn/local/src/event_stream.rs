//! Writes the messages of an AWS event stream (`application/vnd.amazon.eventstream`), in which InvokeWithResponseStream
//! returns a response. Each message is a prelude with lengths, headers, a payload, and a checksum of all of it.

use bytes::{BufMut as _, BytesMut};

/// The type of a header whose value is text.
const TEXT: u8 = 7;

/// The lengths of the message and of its headers, and their checksum.
const PRELUDE_BYTES: usize = 12;

const CHECKSUM_BYTES: usize = 4;

/// Appends a message for an event of this type.
pub(crate) fn write_event(
    stream: &mut BytesMut,
    event_type: &'static str,
    content_type: &'static str,
    payload: &[u8],
) {
    let mut headers = Vec::new();
    for (name, value) in [
        (":event-type", event_type),
        (":content-type", content_type),
        (":message-type", "event"),
    ] {
        // The names and values above are far shorter than these lengths allow.
        headers.push(u8::try_from(name.len()).unwrap_or_default());
        headers.extend_from_slice(name.as_bytes());
        headers.push(TEXT);
        let length = u16::try_from(value.len()).unwrap_or_default();
        headers.extend_from_slice(&length.to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let start = stream.len();
    let length = PRELUDE_BYTES + headers.len() + payload.len() + CHECKSUM_BYTES;
    for length in [length, headers.len()] {
        // A payload is at most 64 KiB.
        stream.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    }
    stream.put_u32(checksum(&stream[start..]));
    stream.put_slice(&headers);
    stream.put_slice(payload);
    stream.put_u32(checksum(&stream[start..]));
}

/// Returns the CRC-32 of the bytes, as in gzip.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |checksum: u32, byte: &u8| {
        let mut checksum = checksum ^ u32::from(*byte);
        for _ in 0..8 {
            let polynomial = if checksum & 1 == 1 { 0xEDB8_8320 } else { 0 };
            checksum = (checksum >> 1) ^ polynomial;
        }
        checksum
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_gzip() {
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
        assert_eq!(checksum(b""), 0);
    }

    #[test]
    fn a_message_has_its_lengths_and_checksums() {
        let mut stream = BytesMut::from(&b"before"[..]);
        write_event(
            &mut stream,
            "PayloadChunk",
            "application/octet-stream",
            b"abc",
        );
        let message = &stream[6..];
        let number = |at: usize| {
            let bytes = message[at..at + 4].try_into().expect("four bytes");
            u32::from_be_bytes(bytes)
        };
        let length = number(0) as usize;
        assert_eq!(length, message.len());
        assert_eq!(number(8), checksum(&message[..8]));
        assert_eq!(number(length - 4), checksum(&message[..length - 4]));
        let headers_end = 12 + number(4) as usize;
        assert_eq!(&message[headers_end..length - 4], b"abc");
        assert_eq!(&message[12..29], b"\x0b:event-type\x07\x00\x0cPa");
    }
}
