//! A stream of gRPC frames gives the same messages in whatever pieces it arrives, and none is larger than the limit.

use bytes::Bytes;
use flowgate_grpc::{Encoding, Frame, Frames, PREFIX_BYTES, TooLarge, decompress, frame};
use flowgate_proto::Chunks;

use crate::pieces::{cut_shared, seeded};

const LIMIT: usize = 4 << 10;

/// The first byte cuts the rest.
pub(crate) fn check(input: &[u8]) {
    let (seed, stream) = seeded(input);
    let stream = Bytes::copy_from_slice(stream);
    let (whole, end) = read([stream.clone()]);
    assert_eq!(read(cut_shared(seed, &stream)), (whole, end));
    let (frames, _) = read([stream.clone()]);
    let read_bytes: usize = frames
        .iter()
        .map(|frame| PREFIX_BYTES + frame.message.len())
        .sum();
    assert!(read_bytes <= stream.len());
    if end == End::AtBorder {
        assert_eq!(read_bytes, stream.len());
    }
    let mut left = stream;
    for Frame { flag, message } in frames {
        assert!(message.len() <= LIMIT);
        let mut written = frame(message.clone(), None).into_bytes();
        let read = left.split_to(written.len());
        assert_eq!((written.split_off(1), flag), (read.slice(1..), read[0]));
        if flag == 1 {
            check_compression(&message);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    AtBorder,
    CutOff,
    TooLarge(TooLarge),
}

fn read(pieces: impl IntoIterator<Item = Bytes>) -> (Vec<Frame>, End) {
    let mut frames = Frames::new(LIMIT);
    let mut all = Vec::new();
    for piece in pieces {
        frames.add(piece);
        loop {
            match frames.read_head() {
                Err(error) => return (all, End::TooLarge(error)),
                Ok(false) => break,
                Ok(true) => {}
            }
            let missing = frames.missing_bytes();
            let taken = frames.take();
            assert_eq!(taken.is_some(), missing == 0);
            match taken {
                Some(frame) => all.push(frame),
                None => break,
            }
        }
    }
    let end = match frames.is_at_border() {
        true => End::AtBorder,
        false => End::CutOff,
    };
    (all, end)
}

/// A message that is marked as compressed stays within the limit when it is decompressed.
fn check_compression(message: &Chunks) {
    for encoding in [Encoding::Gzip, Encoding::Deflate] {
        if let Ok(read) = decompress(encoding, message.clone(), LIMIT) {
            assert!(read.len() <= LIMIT);
        }
    }
}
