//! Tests of the decoder: whole messages, fragments and faults, cut in any way.

use proptest::prelude::*;

use super::*;

/// Encodes a frame as a client does.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | u8::try_from(length).expect("short")),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).expect("short").to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    let masked = payload.iter().zip(mask.into_iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// Decodes everything, of which `step` bytes arrive at once.
fn decode(input: &[u8], step: usize, limit: usize) -> Result<Vec<Message>, ReceiveError> {
    let mut decoder = Decoder::new(limit);
    let mut messages = Vec::new();
    for mut piece in input.chunks(step) {
        while let Some(message) = decoder.decode(&mut piece)? {
            messages.push(message);
        }
        assert!(piece.is_empty());
    }
    Ok(messages)
}

const LIMIT: usize = 1 << 20;

#[test]
fn messages_of_every_length_arrive_in_pieces_of_any_size() {
    for length in [0, 1, 7, 8, 125, 126, 127, 65_535, 65_536, 200_000] {
        let payload: Vec<u8> = (0..length).map(|byte| (byte % 251) as u8).collect();
        for step in [1, 3, 1000, usize::MAX] {
            let message = decode(&frame(0x82, &payload), step, LIMIT).expect("valid");
            assert_eq!(message, [Message::Binary(payload.clone().into())]);
        }
    }
}

#[test]
fn a_message_without_room_is_skipped_and_the_next_one_is_read() {
    let budget = Budget::new(1000);
    let input = [
        frame(0x82, &[b'a'; 400]),
        // No room for what the first frame, or the second, announces.
        frame(0x82, &[b'b'; 1001]),
        frame(0x01, &[b'c'; 600]),
        frame(0x89, b"?"),
        frame(0x00, &[b'c'; 600]),
        frame(0x80, &[b'c'; 600]),
        frame(0x82, &[b'd'; 900]),
    ]
    .concat();
    for step in [1, 7, 300, usize::MAX] {
        let mut decoder = Decoder::new(LIMIT).with_budget(&budget);
        let (mut read, mut refused) = (Vec::new(), 0);
        for mut piece in input.chunks(step) {
            loop {
                match decoder.decode(&mut piece) {
                    Ok(Some(Message::Binary(payload))) => {
                        assert_eq!(budget.used(), payload.len());
                        read.push(payload[0]);
                    }
                    Ok(Some(message)) => assert_eq!(message, Message::Ping("?".into())),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(error, OverBudget { limit: 1000 }.into());
                        refused += 1;
                    }
                }
            }
        }
        assert_eq!((&read[..], refused), (&b"ad"[..], 2), "by {step}");
        assert_eq!(decoder.take_held().map(|held| held.bytes()), Some(900));
    }
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_message_for_which_room_ends_is_skipped() {
    let budget = Budget::new(1000);
    let message = frame(0x82, &[b'a'; 900]);
    let mut decoder = Decoder::new(LIMIT).with_budget(&budget);
    let (mut begin, mut rest) = message.split_at(500);
    assert_eq!(decoder.decode(&mut begin), Ok(None));
    let mut other = budget.account();
    other.add(400).expect("room");
    assert!(matches!(
        decoder.decode(&mut rest),
        Err(ReceiveError::OverBudget(_))
    ));
    assert_eq!(budget.used(), 400);
    assert!(!decoder.is_within_message() || decoder.decode(&mut rest) == Ok(None));
    assert_eq!(
        decoder.decode(&mut &frame(0x81, b"next")[..]),
        Ok(Some(Message::Text("next".into())))
    );
}

#[test]
fn control_frames_come_between_the_frames_of_a_message() {
    let frames = [
        frame(0x01, b"one "),
        frame(0x89, b"?"),
        frame(0x00, b"two "),
        frame(0x8a, b"!"),
        frame(0x80, b"three"),
    ]
    .concat();
    let expected = [
        Message::Ping("?".into()),
        Message::Pong("!".into()),
        Message::Text("one two three".into()),
    ];
    assert_eq!(decode(&frames, 2, LIMIT).expect("valid"), expected);
}

#[test]
fn a_message_over_the_limit_is_an_error_before_it_arrives() {
    let exact = [frame(0x02, &[0; 6]), frame(0x80, &[0; 4])].concat();
    assert!(decode(&exact, 1, 10).is_ok());
    let fragments = [frame(0x02, &[0; 6]), frame(0x80, &[0; 5])[..6].to_vec()].concat();
    let error = ReceiveError::TooLarge { limit: 10 };
    assert_eq!(decode(&fragments, 1, 10), Err(error));
    let huge = [
        0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
    ];
    assert_eq!(decode(&huge, 1, 10), Err(error));
}

#[test]
fn a_length_in_a_head_takes_no_memory() {
    let mut head = frame(0x82, &[0; 70_000]);
    head[2..10].copy_from_slice(&(1_u64 << 40).to_be_bytes());
    let mut decoder = Decoder::new(usize::MAX);
    assert_eq!(decoder.decode(&mut &head[..]), Ok(None));
    let message = decoder.message.expect("begun");
    assert!(
        message.payload.capacity() <= 200_000,
        "{}",
        message.payload.capacity()
    );
}

#[test]
fn an_idle_decoder_holds_no_buffer() {
    let mut decoder = Decoder::new(LIMIT);
    let frames = [frame(0x82, &[0; 70_000]), frame(0x89, b"x")].concat();
    let mut input = &frames[..];
    while decoder.decode(&mut input).expect("valid").is_some() {}
    assert!(decoder.message.is_none());
    assert_eq!(decoder.control.capacity(), 0);
    assert!(size_of::<Decoder>() <= 160, "{}", size_of::<Decoder>());
}

#[test]
fn text_is_checked_as_it_arrives() {
    let text = "κόσμε 😀".as_bytes();
    for split in 0..text.len() {
        let frames = [frame(0x01, &text[..split]), frame(0x80, &text[split..])].concat();
        let message = decode(&frames, 1, LIMIT).expect("valid");
        assert_eq!(message, [Message::Text(text.to_vec().into())]);
    }
    // The rest of the message need not arrive.
    let broken = frame(0x01, b"\xce\xba\xed\xa0\x80 and so on");
    assert_eq!(
        decode(&broken[..11], 1, LIMIT),
        Err(ReceiveError::InvalidText)
    );
    let cut = frame(0x81, &text[..text.len() - 1]);
    assert_eq!(decode(&cut, 64, LIMIT), Err(ReceiveError::InvalidText));
}

proptest! {
    #[test]
    fn bytes_of_any_kind_decode_alike_in_pieces_of_any_size(
        begin in proptest::collection::vec((any::<u8>(), 0_u8..8), 0..6),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
        step in 1_usize..40,
    ) {
        let mut input: Vec<u8> = Vec::new();
        for (first, length) in begin {
            input.extend(frame(first & 0x8f, &vec![first; usize::from(length)]));
        }
        input.extend(noise);
        prop_assert_eq!(decode(&input, step, 64), decode(&input, usize::MAX, 64));
    }
}
