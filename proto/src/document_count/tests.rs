//! Tests of the limits of encoded documents and parameters.

use prost::Message as _;

use super::*;
use crate::{
    DataRequest, Documents, DocumentsError, Kind, ListValue, Struct, docarray::DocumentArrayProto,
};

const fn limits(max_documents: usize, max_decoded_bytes: usize) -> DecodeLimits {
    DecodeLimits {
        max_documents,
        max_decoded_bytes,
    }
}

/// Encodes the documents and decodes the request that has them.
fn received(documents: Vec<DocumentProto>) -> Documents {
    let request = DataRequest {
        documents: documents.into(),
        ..Default::default()
    };
    let wire = request.encode_to_vec();
    DataRequest::decode(&wire[..])
        .expect("just written")
        .documents
}

fn decode(documents: Vec<DocumentProto>, limits: DecodeLimits) -> Result<usize, LimitExceeded> {
    let mut documents = received(documents);
    documents.set_limits(limits);
    match documents.decode() {
        Ok(documents) => Ok(documents.len()),
        Err(DocumentsError::TooLarge(exceeded)) => Err(exceeded),
        Err(other) => panic!("{other}"),
    }
}

fn with_relatives(chunks: usize, matches: usize) -> DocumentProto {
    DocumentProto {
        chunks: vec![DocumentProto::default(); chunks],
        matches: vec![DocumentProto::default(); matches],
        ..Default::default()
    }
}

#[test]
fn documents_are_counted_with_their_chunks_and_matches() {
    let exceeded = Err(LimitExceeded::Documents { limit: 5 });
    let limits = limits(5, usize::MAX);
    assert_eq!(decode(vec![DocumentProto::default(); 5], limits), Ok(5));
    assert_eq!(decode(vec![DocumentProto::default(); 6], limits), exceeded);
    assert_eq!(decode(vec![with_relatives(2, 2)], limits), Ok(1));
    assert_eq!(decode(vec![with_relatives(2, 3)], limits), exceeded);
    let deep = DocumentProto {
        chunks: vec![with_relatives(3, 1)],
        ..Default::default()
    };
    assert_eq!(decode(vec![deep], limits), exceeded);
}

#[test]
fn an_empty_document_takes_a_fraction_of_a_kilobyte() {
    let size = size_of::<DocumentProto>();
    assert!(size <= 368, "{size} bytes");
}

#[test]
fn memory_is_estimated_for_small_values_that_become_large() {
    let limits = limits(1000, 100_000);
    let exceeded = Err(LimitExceeded::DecodedBytes { limit: 100_000 });
    let with_list = |count: usize| {
        let values = vec![Value::default(); count];
        let list = Value {
            kind: Some(Kind::ListValue(ListValue { values })),
        };
        DocumentProto {
            tags: Some(Struct {
                fields: [("a".to_owned(), list)].into(),
            }),
            ..Default::default()
        }
    };
    assert_eq!(decode(vec![with_list(500)], limits), Ok(1));
    assert_eq!(decode(vec![with_list(5000)], limits), exceeded);
    let with_location = |count: usize| DocumentProto {
        location: vec![1.0; count],
        ..Default::default()
    };
    assert_eq!(decode(vec![with_location(10_000)], limits), Ok(1));
    assert_eq!(decode(vec![with_location(30_000)], limits), exceeded);
}

#[test]
fn parameters_are_checked_before_they_are_decoded() {
    let fields = (0..1000).map(|n| (n.to_string(), Value::default()));
    let mut request = DataRequest {
        parameters: Struct {
            fields: fields.collect(),
        }
        .into(),
        ..Default::default()
    };
    assert_eq!(request.set_decode_limits(limits(1, 1 << 20)), Ok(()));
    assert_eq!(
        request.set_decode_limits(limits(1, 10_000)),
        Err(LimitExceeded::DecodedBytes { limit: 10_000 })
    );
}

#[test]
fn malformed_documents_are_left_to_decoding() {
    let array = DocumentArrayProto {
        docs: vec![with_relatives(1, 1)],
    };
    let mut wire = array.encode_to_vec();
    wire.truncate(wire.len() - 1);
    let limits = limits(1000, 1000);
    assert_eq!(scan(Message::Documents, &wire, limits), Ok(()));
    assert_eq!(scan(Message::Content, &[0x0a, 0xff], limits), Ok(()));
}

proptest::proptest! {
    /// Counting fails only where decoding does.
    #[test]
    fn any_bytes_are_counted(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let counted = count(Message::Documents, &bytes, MAX_DEPTH, &mut Budget::new(DecodeLimits::default()));
        if DocumentArrayProto::decode(&bytes[..]).is_ok() {
            proptest::prop_assert!(counted.is_ok());
        }
    }
}
