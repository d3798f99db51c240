//! Bytes in pieces behave like the same bytes in one piece, whatever is taken from them.

use bytes::{Buf as _, Bytes};
use flowgate_proto::Chunks;

use crate::pieces::{cut_shared, seeded};

/// The first byte cuts the rest, whose first half says what is done.
pub(crate) fn check(input: &[u8]) {
    let (seed, rest) = seeded(input);
    let (steps, bytes) = rest.split_at(rest.len() / 2);
    let mut expected = Bytes::copy_from_slice(bytes);
    let mut chunks: Chunks = cut_shared(seed, &expected).collect();
    for step in steps {
        assert_same(&chunks, &expected);
        let count = usize::from(step >> 3).min(expected.len());
        match step % 8 {
            0 => {
                chunks.advance(count);
                expected.advance(count);
            }
            1 => {
                let taken = chunks.split_to(count);
                assert_same(&taken, &expected.split_to(count));
            }
            2 => assert_eq!(chunks.copy_to_bytes(count), expected.copy_to_bytes(count)),
            3 if !expected.is_empty() => assert_eq!(chunks.get_u8(), expected.get_u8()),
            4 => {
                let pushed = Bytes::copy_from_slice(&steps[..count.min(steps.len())]);
                expected = [&expected[..], &pushed].concat().into();
                chunks.push(pushed);
            }
            5 if expected.len() >= 4 => assert_eq!(chunks.get_u32(), expected.get_u32()),
            6 => {
                let mut copied = vec![0; count];
                chunks.clone().copy_to_slice(&mut copied);
                assert_eq!(copied, &expected[..count]);
            }
            _ => chunks = chunks.into_iter().collect(),
        }
    }
    assert_same(&chunks, &expected);
    assert_eq!(chunks.into_bytes(), expected);
}

fn assert_same(chunks: &Chunks, expected: &Bytes) {
    assert_eq!(chunks.len(), expected.len());
    assert_eq!(chunks.is_empty(), expected.is_empty());
    assert_eq!(chunks.has_remaining(), !chunks.chunk().is_empty());
    assert!(chunks.iter().all(|piece| !piece.is_empty()));
    assert_eq!(chunks.iter().map(Bytes::len).sum::<usize>(), expected.len());
    assert!(expected.starts_with(chunks.chunk()));
}
