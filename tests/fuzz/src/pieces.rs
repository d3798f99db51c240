//! Cuts bytes into pieces, as a network does.

use bytes::Bytes;

/// Splits off the first byte of the input, which says how the rest is cut.
pub(crate) fn seeded(input: &[u8]) -> (u8, &[u8]) {
    input
        .split_first()
        .map_or((0, input), |(seed, rest)| (*seed, rest))
}

/// Cuts bytes into pieces: of one size below 128, of changing sizes above.
pub(crate) fn cut(seed: u8, mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut state = usize::from(seed);
    while !bytes.is_empty() {
        let size = match seed {
            0 => bytes.len(),
            1..=127 => usize::from(seed),
            128.. => {
                state = (state * 109 + 89) % 2003;
                // Empty pieces come too.
                match state % 5 {
                    0 => state,
                    _ => state % 17,
                }
            }
        };
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// Does the same for shared bytes.
pub(crate) fn cut_shared(seed: u8, bytes: &Bytes) -> impl Iterator<Item = Bytes> {
    cut(seed, bytes)
        .into_iter()
        .map(|piece| bytes.slice_ref(piece))
}
