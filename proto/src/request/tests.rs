//! Tests of the data request: what is decoded, what is passed on untouched, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::docarray::DocumentProto;

fn document(id: &str) -> DocumentProto {
    DocumentProto {
        id: id.to_owned(),
        ..Default::default()
    }
}

#[test]
fn documents_are_forwarded_undecoded_and_unchanged() {
    let request = DataRequest {
        documents: vec![document("a"), document("b")].into(),
        parameters: Parameters::EMPTY,
        ..Default::default()
    };
    let wire = request.encode_to_vec();
    let read = DataRequest::decode(&wire[..]).expect("just written");
    assert_eq!(read, request);
    assert_eq!(read.encode_to_vec(), wire);
}

#[test]
fn documents_in_pieces_are_passed_on_as_they_came() {
    let request = DataRequest {
        documents: vec![document("a"), document(&"b".repeat(100))].into(),
        parameters: Parameters::EMPTY,
        unknown_fields: vec![0x48, 5],
        ..Default::default()
    };
    let wire = Bytes::from(request.encode_to_vec());
    let documents_len = request.documents.clone().into_wire().len();
    for size in 1..=wire.len() {
        let pieces = |bytes: &Bytes| -> Chunks {
            let starts = (0..bytes.len()).step_by(size);
            starts
                .map(|at| bytes.slice(at..bytes.len().min(at + size)))
                .collect()
        };
        let read = DataRequest::from_chunks(pieces(&wire)).expect("just written");
        assert_eq!(read, request, "pieces of {size}");
        assert!(read.documents.has_all_ids());
        let mut written = read.into_chunks(BytesMut::from(&b"head"[..]));
        assert_eq!(written.split_to(4).into_bytes(), "head");
        let shared = written
            .iter()
            .filter(|piece| wire.as_ptr_range().contains(&piece.as_ptr()));
        let shared: usize = shared.map(Bytes::len).sum();
        assert_eq!(shared, documents_len, "not copied");
        assert_eq!(written.into_bytes(), wire);
    }
}

proptest! {
    /// Whatever bytes come, cut in whatever way, they are read as when they come in one piece.
    #[test]
    fn pieces_are_read_as_the_whole(
        wire in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            // Mostly valid: fields with small numbers, and lengths that mostly hold.
            proptest::collection::vec((1_u8..6, proptest::collection::vec(0_u8..32, 0..20)), 0..8)
                .prop_map(|fields| {
                    let field = |(number, value): (u8, Vec<u8>)| {
                        [vec![number << 3 | 2, u8::try_from(value.len()).unwrap_or_default()], value].concat()
                    };
                    fields.into_iter().flat_map(field).collect()
                }),
        ],
        size in 1_usize..50,
    ) {
        let pieces = wire.chunks(size).map(Bytes::copy_from_slice).collect();
        let whole = DataRequest::decode(&wire[..]);
        let read = DataRequest::from_chunks(pieces);
        prop_assert_eq!(read.is_ok(), whole.is_ok());
        if let (Ok(read), Ok(whole)) = (read, whole) {
            prop_assert_eq!(read.documents.has_all_ids(), whole.documents.has_all_ids());
            let written = read.clone().into_chunks(BytesMut::new()).into_bytes();
            prop_assert_eq!(&written[..], &whole.encode_to_vec()[..]);
            prop_assert_eq!(written.len(), read.encoded_len());
        }
    }
}

#[test]
fn unknown_fields_survive() {
    // Field 9 (varint 5), field 10 (bytes "xy"), field 11 (fixed32), field 12 (fixed64).
    let wire = [
        0x48, 5, 0x52, 2, b'x', b'y', 0x5d, 1, 2, 3, 4, 0x61, 1, 2, 3, 4, 5, 6, 7, 8,
    ];
    let read = DataRequest::decode(&wire[..]).expect("valid protobuf");
    assert!(read.encode_to_vec().ends_with(&wire));
}

/// The routes of a hostile client: decoded, they would take a hundred times their size.
#[test]
fn routes_beyond_the_limit_stay_encoded() {
    let short = RouteProto {
        executor: "e".to_owned(),
        ..Default::default()
    };
    let long = RouteProto {
        executor: "x".repeat(300 << 10),
        ..Default::default()
    };
    for (route, kept) in [(short, MAX_ROUTES), (long, 3)] {
        let request = DataRequest {
            routes: vec![route; MAX_ROUTES + 10],
            ..Default::default()
        };
        let wire = request.encode_to_vec();
        let read = DataRequest::decode(&wire[..]).expect("valid protobuf");
        assert_eq!(read.routes.len(), kept);
        assert_eq!(read.encode_to_vec(), wire, "none is lost");
    }
}

#[test]
fn a_header_beyond_the_limit_is_refused() {
    let with = |args: usize| DataRequest {
        header: HeaderProto {
            status: Some(crate::jina::StatusProto {
                exception: Some(crate::jina::status_proto::ExceptionProto {
                    args: vec![String::new(); args],
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    };
    let wire = with(1000).encode_to_vec();
    assert_eq!(DataRequest::decode(&wire[..]).expect("valid"), with(1000));
    let twice = [&wire[..], &wire].concat();
    let error = DataRequest::decode(&twice[..]).expect_err("twice");
    assert!(error.to_string().contains("more than one status"));
    let large = with(MAX_HEADER_BYTES).encode_to_vec();
    let error = DataRequest::decode(&large[..]).expect_err("too large");
    assert!(error.to_string().contains("more than the limit"), "{error}");
}

#[test]
fn a_repeated_data_field_is_merged() {
    let one = DataRequest {
        documents: vec![document("a")].into(),
        ..Default::default()
    };
    let two = DataRequest {
        documents: vec![document("b")].into(),
        ..Default::default()
    };
    let wire = [one.encode_to_vec(), two.encode_to_vec()].concat();
    let read = DataRequest::decode(&wire[..]).expect("valid protobuf");
    let ids: Vec<_> = read
        .documents
        .into_vec()
        .expect("documents")
        .into_iter()
        .map(|d| d.id)
        .collect();
    assert_eq!(ids, ["a", "b"]);
}

/// A hostile client's request: at quadratic cost each of these would take minutes.
#[test]
fn fields_repeated_many_times_are_merged_in_linear_time() {
    const TIMES: usize = 100_000;
    // Field 9 as a varint; `data` with one document of 63 bytes; `parameters` with one key.
    let unknown = [0x48, 5];
    let data = DataRequest {
        documents: vec![document(&"a".repeat(61))].into(),
        ..Default::default()
    };
    let data = data.encode_to_vec().split_off(2);
    let parameters = [0x12, 5, 0x0a, 3, 0x0a, 1, b'k'];
    for field in [&unknown[..], &data, &parameters] {
        let wire = field.repeat(TIMES);
        // Decoded from shared memory, as network buffers are, and from a slice.
        let shared = Bytes::from(wire.clone());
        let read = DataRequest::decode(shared.clone()).expect("valid protobuf");
        assert_eq!(
            read,
            DataRequest::decode(&wire[..]).expect("valid protobuf")
        );
        assert!(read.encoded_len() <= wire.len() + 16);
        let documents = read.documents.decode().expect("documents").len();
        let keys = read.parameters.keys().expect("a Struct").len();
        let count = read.unknown_fields.len() / unknown.len() + documents + keys;
        assert_eq!(count, TIMES, "{field:?}");
        assert_eq!(shared, wire, "shared memory is not modified");
    }
}

#[test]
fn a_wrong_wire_type_is_an_error() {
    assert!(
        DataRequest::decode(&[0x20, 1][..]).is_err(),
        "field 4 as a number"
    );
    assert!(DataRequest::decode(&b"garbage"[..]).is_err());
}

#[test]
fn missing_ids_are_detected_without_decoding() {
    for (ids, expected) in [(&["a", "b"][..], true), (&["a", ""], false), (&[], true)] {
        let documents: Vec<_> = ids.iter().map(|id| document(id)).collect();
        let request = DataRequest {
            documents: documents.into(),
            ..Default::default()
        };
        assert_eq!(request.documents.has_all_ids(), expected, "{ids:?}");
        let read = DataRequest::decode(&request.encode_to_vec()[..]).expect("just written");
        assert_eq!(read.documents.has_all_ids(), expected, "{ids:?} encoded");
    }
}
