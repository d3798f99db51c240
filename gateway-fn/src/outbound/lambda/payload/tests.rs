//! Tests the plans of requests, and answers that are invalid.

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

fn plan(compression: Compression, parts: Vec<DataRequest>) -> Result<PayloadPlan, InvokeError> {
    let planner = Planner {
        compression,
        max_body_bytes: 400,
        max_parts: 4,
    };
    planner.plan(parts)
}

/// Text that compresses badly, another one for each seed.
fn incompressible(seed: u64, length: usize) -> String {
    let mut state = seed;
    let mut letter = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap_or(0))
    };
    (0..length).map(|_| letter()).collect()
}

fn encodings(plan: &PayloadPlan) -> Vec<Compression> {
    let chunks = match plan {
        PayloadPlan::Whole(chunk) => std::slice::from_ref(chunk),
        PayloadPlan::Split { chunks, .. } => chunks.as_slice(),
    };
    let encoding = |chunk: &Chunk| {
        let requests = chunk.invocation.decode_requests(LIMIT).expect("requests");
        let list = DataRequestListProto { requests };
        assert_eq!(list.encoded_len(), chunk.raw_bytes);
        assert!(chunk.invocation.body_len() <= 400);
        chunk.invocation.encoding()
    };
    chunks.iter().map(encoding).collect()
}

#[test]
fn a_request_is_sent_in_the_first_form_that_fits() {
    use Compression::{Gzip, None, Zstd};
    let planned = |compression, texts: &[String]| {
        plan(compression, vec![request(texts)]).map(|plan| encodings(&plan))
    };
    let (small, flat) = ("x".repeat(100), "x".repeat(10_000));
    assert_eq!(
        planned(None, std::slice::from_ref(&small)).expect("fits"),
        [None]
    );
    assert_eq!(planned(Gzip, &[small]).expect("fits"), [Gzip]);
    assert_eq!(
        planned(None, std::slice::from_ref(&flat)).expect("fits"),
        [Zstd]
    );
    assert_eq!(planned(Gzip, &[flat]).expect("fits"), [Gzip]);
    let many: Vec<_> = (0..3).map(|seed| incompressible(seed, 200)).collect();
    assert!(planned(None, &many).expect("fits").len() > 1);
}

#[test]
fn a_request_that_does_not_fit_reports_its_size() {
    let reason = |parts: Vec<DataRequest>| match plan(Compression::None, parts) {
        Err(InvokeError::RequestTooLarge {
            bytes,
            limit,
            reason,
        }) => {
            assert!(bytes > limit && limit == 400, "{bytes}");
            reason
        }
        other => panic!("{other:?}"),
    };
    let large = request(&[incompressible(1, 1000)]);
    assert_eq!(reason(vec![large.clone()]), NotSplittable::OneDocument);
    assert_eq!(reason(vec![large.clone(), large]), NotSplittable::Join);
    let many: Vec<_> = (0..9).map(|seed| incompressible(seed, 250)).collect();
    assert_eq!(
        reason(vec![request(&many)]),
        NotSplittable::TooManyParts { max_parts: 4 }
    );
}

#[test]
fn invalid_answers_have_different_errors() {
    let read = |payload: &[u8]| read::<DataRequest>(payload, 10);
    assert!(matches!(read(b""), Err(InvokeError::NoPayload)));
    assert!(matches!(read(b"null"), Err(InvokeError::NoPayload)));
    assert!(matches!(read(b"\xff"), Err(InvokeError::InvalidAnswer(_))));
    let message = request(&[incompressible(1, 100)]).encode_to_vec();
    let large = InvocationResponse::new(&message, Compression::Zstd, false).expect("an answer");
    let large = large.to_json().expect("JSON");
    assert!(matches!(
        read(large.as_bytes()),
        Err(InvokeError::AnswerOverLimit { limit: 10 })
    ));
    let missing = read(br#"{"flowgate":1}"#);
    assert!(matches!(missing, Err(InvokeError::InvalidAnswer(_))));
    let mut message = DataRequest::default();
    message.header.request_id = "r".to_owned();
    let message = message.encode_to_vec();
    let small = InvocationResponse::new(&message, Compression::None, true).expect("an answer");
    let small = read(small.to_json().expect("JSON").as_bytes()).expect("an answer");
    assert!(small.is_error);
}
