//! Encoded bytes in the pieces in which they came from the network, so that a proxy passes them on without copying.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Bytes in one or more pieces, read from the front. Most messages are one piece, which costs no allocation. A clone
/// shares the bytes.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    first: Bytes,
    rest: VecDeque<Bytes>,
    /// The number of bytes in all pieces.
    len: usize,
}

impl Chunks {
    /// Returns the number of bytes in all pieces.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a piece at the end. Empty pieces are left out.
    pub fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if self.first.is_empty() {
            self.first = piece;
        } else if !piece.is_empty() {
            self.rest.push_back(piece);
        }
    }

    /// Takes the first `len` bytes off, without copying any.
    ///
    /// # Panics
    /// When there are fewer bytes.
    #[must_use]
    pub fn split_to(&mut self, len: usize) -> Self {
        assert!(len <= self.len, "split_to beyond the end");
        let mut taken = Self::default();
        while taken.len < len {
            let missing = len - taken.len;
            let piece = if missing < self.first.len() {
                self.first.split_to(missing)
            } else {
                std::mem::replace(&mut self.first, self.rest.pop_front().unwrap_or_default())
            };
            self.len -= piece.len();
            taken.push(piece);
        }
        taken
    }

    /// Returns all bytes in one piece. Copies only if there are several pieces.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        self.copy_to_bytes(self.len)
    }

    /// Returns the pieces in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        let first = Some(&self.first).filter(|piece| !piece.is_empty());
        first.into_iter().chain(&self.rest)
    }
}

impl Buf for Chunks {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        &self.first
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.len, "advance beyond the end");
        self.len -= count;
        let mut left = count;
        while left >= self.first.len() && left > 0 {
            left -= self.first.len();
            self.first = self.rest.pop_front().unwrap_or_default();
        }
        self.first.advance(left);
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let taken = self.split_to(len);
        if taken.rest.is_empty() {
            return taken.first;
        }
        let mut joined = BytesMut::with_capacity(taken.len);
        taken
            .iter()
            .for_each(|piece| joined.extend_from_slice(piece));
        joined.freeze()
    }
}

impl From<Bytes> for Chunks {
    fn from(bytes: Bytes) -> Self {
        Self {
            len: bytes.len(),
            first: bytes,
            rest: VecDeque::new(),
        }
    }
}

impl FromIterator<Bytes> for Chunks {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut chunks = Self::default();
        pieces.into_iter().for_each(|piece| chunks.push(piece));
        chunks
    }
}

impl IntoIterator for Chunks {
    type Item = Bytes;
    type IntoIter = std::iter::Chain<
        std::option::IntoIter<Bytes>,
        std::collections::vec_deque::IntoIter<Bytes>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        let first = Some(self.first).filter(|piece| !piece.is_empty());
        first.into_iter().chain(self.rest)
    }
}

/// Compares the bytes, however they are divided into pieces.
impl PartialEq for Chunks {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |chunks: &Self| chunks.clone().into_bytes();
        self.len == other.len && bytes(self) == bytes(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way to divide `0..9` into pieces of one length.
    fn divided() -> impl Iterator<Item = Chunks> {
        let bytes: Vec<u8> = (0..9).collect();
        (1..=9).map(move |size| bytes.chunks(size).map(Bytes::copy_from_slice).collect())
    }

    #[test]
    fn bytes_come_out_in_order_however_they_are_divided() {
        for chunks in divided() {
            for at in 0..=9 {
                let mut rest = chunks.clone();
                let taken = rest.split_to(at);
                assert_eq!((taken.len(), rest.len()), (at, 9 - at));
                let joined = [taken.into_bytes(), rest.into_bytes()].concat();
                assert_eq!(joined, (0..9).collect::<Vec<u8>>());
                let mut advanced = chunks.clone();
                advanced.advance(at);
                assert_eq!(advanced.has_remaining(), !advanced.chunk().is_empty());
                assert_eq!(advanced.into_bytes(), (at as u8..9).collect::<Vec<u8>>());
            }
        }
    }

    #[test]
    fn pieces_are_shared_and_not_copied() {
        let pieces = [vec![1; 10], vec![2; 10]].map(Bytes::from);
        let mut chunks: Chunks = pieces.iter().cloned().collect();
        let taken = chunks.split_to(15);
        let starts = |chunks: &Chunks| {
            chunks
                .iter()
                .map(|piece| piece.as_ptr())
                .collect::<Vec<_>>()
        };
        assert_eq!(starts(&taken), [pieces[0].as_ptr(), pieces[1].as_ptr()]);
        assert_eq!(starts(&chunks), [pieces[1][5..].as_ptr()]);
    }

    #[test]
    fn chunks_with_the_same_bytes_are_equal() {
        let all: Vec<Chunks> = divided().collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
        assert_ne!(all[0], Chunks::default());
    }
}
