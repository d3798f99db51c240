//! The rungs that requests take, and answers that are none.

use flowgate_proto::docarray::{DocumentProto, document_proto::Content};

use super::*;

const LIMIT: usize = 1 << 20;

fn request(texts: &[String]) -> DataRequest {
    let document = |text: &String| DocumentProto {
        content: Some(Content::Text(text.clone())),
        ..DocumentProto::default()
    };
    DataRequest {
        documents: texts.iter().map(document).collect::<Vec<_>>().into(),
        ..DataRequest::default()
    }
}

fn climb(compression: Compression, parts: Vec<DataRequest>) -> Result<Load, InvokeFault> {
    let ladder = Ladder {
        compression,
        room: 400,
        max_parts: 4,
    };
    ladder.climb(parts)
}

/// Text that compression makes little of, another for each seed.
fn dense(seed: u64, length: usize) -> String {
    let mut state = seed;
    let mut letter = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap_or(0))
    };
    (0..length).map(|_| letter()).collect()
}

fn encodings(load: &Load) -> Vec<Compression> {
    let pieces = match load {
        Load::Whole(piece) => std::slice::from_ref(piece),
        Load::Split { pieces, .. } => pieces.as_slice(),
    };
    let sent = |piece: &Piece| {
        let requests = piece.invocation.decode_requests(LIMIT).expect("requests");
        let list = DataRequestListProto { requests };
        assert_eq!(list.encoded_len(), piece.raw_bytes);
        assert!(piece.invocation.body_len() <= 400);
        piece.invocation.encoding()
    };
    pieces.iter().map(sent).collect()
}

#[test]
fn a_request_takes_the_first_rung_that_it_fits() {
    use Compression::{Gzip, None, Zstd};
    let taken = |compression, texts: &[String]| {
        climb(compression, vec![request(texts)]).map(|load| encodings(&load))
    };
    let (small, flat) = ("x".repeat(100), "x".repeat(10_000));
    assert_eq!(
        taken(None, std::slice::from_ref(&small)).expect("fits"),
        [None]
    );
    assert_eq!(taken(Gzip, &[small]).expect("fits"), [Gzip]);
    assert_eq!(
        taken(None, std::slice::from_ref(&flat)).expect("fits"),
        [Zstd]
    );
    assert_eq!(taken(Gzip, &[flat]).expect("fits"), [Gzip]);
    let many: Vec<_> = (0..3).map(|seed| dense(seed, 200)).collect();
    assert!(taken(None, &many).expect("fits").len() > 1);
}

#[test]
fn what_fits_nowhere_says_how_large_it_is() {
    let told = |parts: Vec<DataRequest>| match climb(Compression::None, parts) {
        Err(InvokeFault::RequestTooLarge {
            bytes,
            limit,
            not_splittable,
        }) => {
            assert!(bytes > limit && limit == 400, "{bytes}");
            not_splittable
        }
        other => panic!("{other:?}"),
    };
    let large = request(&[dense(1, 1000)]);
    assert_eq!(told(vec![large.clone()]), NotSplittable::OneDocument);
    assert_eq!(told(vec![large.clone(), large]), NotSplittable::Join);
    let many: Vec<_> = (0..9).map(|seed| dense(seed, 250)).collect();
    assert_eq!(
        told(vec![request(&many)]),
        NotSplittable::TooManyParts { most: 4 }
    );
}

#[test]
fn answers_are_read_or_told_apart() {
    let read = |payload: &[u8]| read::<DataRequest>(payload, 10);
    assert!(matches!(read(b""), Err(InvokeFault::NoPayload)));
    assert!(matches!(read(b"null"), Err(InvokeFault::NoPayload)));
    assert!(matches!(read(b"\xff"), Err(InvokeFault::Unreadable(_))));
    let message = request(&[dense(1, 100)]).encode_to_vec();
    let large = InvocationResponse::new(&message, Compression::Zstd, false).expect("an answer");
    let large = large.to_json().expect("JSON");
    assert!(matches!(
        read(large.as_bytes()),
        Err(InvokeFault::AnswerOverLimit { limit: 10 })
    ));
    let small = InvocationResponse::new(&[], Compression::None, true).expect("an answer");
    let small = read(small.to_json().expect("JSON").as_bytes()).expect("an answer");
    assert!(small.is_error);
}
