//! WebSocket frames give the same messages in whatever pieces they arrive, and none is larger than the limit. Messages that
//! are encoded as a client does it are decoded unchanged.

use flowgate_websocket::{Close, Decoder, Message, ReceiveError};

use crate::pieces::{cut, seeded};

const LIMIT: usize = 2 << 10;

/// The first byte cuts the rest.
pub(crate) fn check(input: &[u8]) {
    let (seed, frames) = seeded(input);
    let (messages, end) = decode([frames]);
    assert_eq!(decode(cut(seed, frames)), (messages.clone(), end));
    for message in &messages {
        match message {
            Message::Text(payload) => {
                assert!(payload.len() <= LIMIT && str::from_utf8(payload).is_ok());
            }
            Message::Binary(payload) => assert!(payload.len() <= LIMIT),
            Message::Ping(payload) | Message::Pong(payload) => assert!(payload.len() <= 125),
            Message::Close(close) => {
                let allowed = |close: &Close| (1000..5000).contains(&close.code);
                assert!(close.as_ref().is_none_or(allowed));
            }
        }
    }
    let sent: Vec<u8> = messages
        .iter()
        .flat_map(|message| frame(message, seed))
        .collect();
    assert_eq!(decode(cut(seed, &sent)), (messages, None));
}

/// Returns the messages up to the first error.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Message>, Option<ReceiveError>) {
    let mut decoder = Decoder::new(LIMIT);
    let mut messages = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(piece.is_empty(), "everything is read");
    }
    (messages, None)
}

/// Encodes a message as a client does; a long one in two fragments.
fn frame(message: &Message, seed: u8) -> Vec<u8> {
    let close;
    let (opcode, payload) = match message {
        Message::Text(payload) => (0x1, &payload[..]),
        Message::Binary(payload) => (0x2, &payload[..]),
        Message::Close(None) => (0x8, &[][..]),
        Message::Close(Some(Close { code, reason })) => {
            close = [&code.to_be_bytes(), reason.as_bytes()].concat();
            (0x8, &close[..])
        }
        Message::Ping(payload) => (0x9, &payload[..]),
        Message::Pong(payload) => (0xa, &payload[..]),
    };
    let mask = [seed, seed.wrapping_mul(7), 0, !seed];
    match payload.len() {
        0..=125 => masked(0x80 | opcode, payload, mask),
        length => {
            let (begin, end) = payload.split_at(length / 3);
            [masked(opcode, begin, mask), masked(0x80, end, mask)].concat()
        }
    }
}

fn masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..=125) => frame.push(0x80 | length),
        _ => {
            let length = u16::try_from(payload.len()).expect("within the limit");
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend(mask);
    let bytes = payload.iter().zip(mask.into_iter().cycle());
    frame.extend(bytes.map(|(byte, mask)| byte ^ mask));
    frame
}
