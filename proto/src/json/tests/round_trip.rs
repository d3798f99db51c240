//! Property tests: written responses can be read back, and no input panics.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    DataRequest, DecodeLimits, Kind, Struct, Timestamp, Value,
    docarray::{
        DenseNdArrayProto, DocumentProto, NamedScoreProto, NdArrayProto, SparseNdArrayProto,
        document_proto::Content, nd_array_proto,
    },
    document,
    jina::{HeaderProto, RouteProto, StatusProto, status_proto::ExceptionProto},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_response_survives_a_round_trip_in_either_style(response in response()) {
        let written = write_websocket(&response).expect("no arrays");
        prop_assert_eq!(&read_response(&json(&written)).expect("valid"), &response);
        let written = write_http(&response).expect("no arrays");
        let read = read_response(&parse(&written).expect("JSON")).expect("valid");
        prop_assert_eq!(read, as_http_represents_it(response));
    }

    /// A client can send the documents of a response in a new request.
    #[test]
    fn documents_of_a_response_are_read_as_a_request(response in response()) {
        let written = parse(&write_http(&response).expect("no arrays")).expect("JSON");
        let data = written.get("data").expect("documents").clone();
        let body = Json::Object([("data".into(), data)].into());
        let request = read_request(body, EndpointFrom::Body).expect("valid");
        let mut sent = response.documents.into_vec().expect("decoded");
        sent.iter_mut().for_each(without_empty_scores);
        prop_assert_eq!(request.documents.into_vec().expect("decoded"), sent);
    }

    #[test]
    fn arrays_survive_a_round_trip(array in array()) {
        let document = DocumentProto {
            id: "a".to_owned(),
            embedding: Some(Box::new(array)),
            ..Default::default()
        };
        let response = DataRequest { documents: vec![document].into(), ..Default::default() };
        let written = write_websocket(&response).expect("a valid array");
        let read = read_response(&json(&written)).expect("valid");
        prop_assert_eq!(write_websocket(&read).expect("a valid array"), written);
        let written = write_http(&response).expect("a valid array");
        let read = read_response(&parse(&written).expect("JSON")).expect("valid");
        prop_assert_eq!(write_http(&read).expect("a valid array"), written);
    }

    #[test]
    fn any_array_is_written_or_rejected(array in any_array()) {
        let document = DocumentProto {
            content: Some(Content::Tensor(Box::new(array))),
            ..Default::default()
        };
        let response = DataRequest { documents: vec![document].into(), ..Default::default() };
        if let Ok(written) = write_http(&response) {
            parse(&written).expect("the output is JSON");
        }
    }

    #[test]
    fn any_bytes_are_parsed_or_rejected(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_text_like_json_is_read_or_rejected(text in r#"[\[\]{}",:0-9eE.+\-\\u\n NIatrue\u{e9}]{0,60}"#) {
        if let Ok(value) = parse(text.as_bytes()) {
            let _ = read_response(&value);
            let parsed = parse_request(text.as_bytes(), DecodeLimits::default()).expect("JSON");
            let converted = read_request(parsed, EndpointFrom::Body);
            prop_assert_eq!(read_request(value, EndpointFrom::Body).err(), converted.err());
        }
    }

    #[test]
    fn any_value_is_a_request_or_rejected(value in any_json()) {
        for key in ["data", "parameters", "header", "routes", "exec_endpoint"] {
            let body = Json::Object([(key.into(), value.clone())].into());
            let _ = read_response(&body);
            if let Ok(request) = read_request(body, EndpointFrom::Body) {
                write_http(&request).expect("a request that was read can be written");
            }
        }
    }
}

/// Removes scores without fields, which are ignored in a request.
fn without_empty_scores(document: &mut DocumentProto) {
    document
        .scores
        .retain(|_, score| *score != Default::default());
    document
        .evaluations
        .retain(|_, score| *score != Default::default());
    document.chunks.iter_mut().for_each(without_empty_scores);
    document.matches.iter_mut().for_each(without_empty_scores);
}

/// HTTP's style has microseconds, and in the header neither absent texts nor a timeout.
fn as_http_represents_it(mut response: DataRequest) -> DataRequest {
    let header = &mut response.header;
    header.exec_endpoint.get_or_insert_default();
    header.target_executor.get_or_insert_default();
    header.timeout = None;
    for route in &mut response.routes {
        for time in [&mut route.start_time, &mut route.end_time] {
            *time = time.map(|time| Timestamp {
                nanos: time.nanos / 1000 * 1000,
                ..time
            });
        }
    }
    response
}

prop_compose! {
    fn response()(
        header in header(),
        parameters in option::of(structure()),
        routes in vec(route(), 0..3),
        documents in option::of(vec(nested_document(), 0..3)),
    ) -> DataRequest {
        let mut documents = documents.unwrap_or_default();
        // Once per level: the place of a document depends on its parent's place before the call.
        for _ in 0..4 {
            document::normalize_decoded(&mut documents);
        }
        DataRequest {
            header,
            parameters: parameters.into(),
            routes,
            documents: documents.into(),
            ..Default::default()
        }
    }
}

prop_compose! {
    fn header()(
        request_id in text(),
        status in option::of(status()),
        exec_endpoint in option::of(text()),
        target_executor in option::of(text()),
        timeout in option::of(any::<u32>()),
    ) -> HeaderProto {
        HeaderProto { request_id, status, exec_endpoint, target_executor, timeout }
    }
}

prop_compose! {
    fn status()(
        code in 0..2,
        description in text(),
        exception in option::of(exception()),
    ) -> StatusProto {
        StatusProto { code, description, exception }
    }
}

prop_compose! {
    fn exception()(
        name in text(),
        args in vec(text(), 0..3),
        stacks in vec(text(), 0..3),
        executor in text(),
    ) -> ExceptionProto {
        ExceptionProto { name, args, stacks, executor }
    }
}

prop_compose! {
    fn route()(
        executor in text(),
        start_time in option::of(time()),
        end_time in option::of(time()),
        status in option::of(status()),
    ) -> RouteProto {
        RouteProto { executor, start_time, end_time, status }
    }
}

prop_compose! {
    fn time()(
        seconds in -62_135_596_800_i64..=253_402_300_799,
        nanos in 0..1_000_000_000,
    ) -> Timestamp {
        Timestamp { seconds, nanos }
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<String>(),
        "[a-z\"\\\\\n\u{7f}\u{1f600}]{0,8}"
    ]
}

fn single() -> impl Strategy<Value = f32> {
    prop_oneof![
        Just(0.0),
        Just(0.1),
        any::<f32>().prop_filter("finite", |x| x.is_finite())
    ]
}

fn structure() -> impl Strategy<Value = Struct> {
    let leaf = prop_oneof![
        Just(Kind::NullValue(0)),
        any::<bool>().prop_map(Kind::BoolValue),
        any::<f64>()
            .prop_filter("finite", |x| x.is_finite())
            .prop_map(Kind::NumberValue),
        any::<i32>().prop_map(|n| Kind::NumberValue(f64::from(n))),
        text().prop_map(Kind::StringValue),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        let some = |kind| Value { kind: Some(kind) };
        prop_oneof![
            vec(inner.clone().prop_map(some), 0..4)
                .prop_map(|values| Kind::ListValue(prost_types::ListValue { values })),
            fields(inner.prop_map(some)).prop_map(Kind::StructValue),
        ]
    });
    fields(value.prop_map(|kind| Value { kind: Some(kind) }))
}

fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Struct> {
    proptest::collection::btree_map(text(), value, 0..4).prop_map(|fields| Struct { fields })
}

fn scores() -> impl Strategy<Value = BTreeMap<String, NamedScoreProto>> {
    let score = (single(), text(), text(), text());
    let score = score.prop_map(|(value, op_name, description, ref_id)| NamedScoreProto {
        value,
        op_name,
        description,
        ref_id,
    });
    proptest::collection::btree_map(text(), score, 0..3)
}

fn nested_document() -> impl Strategy<Value = DocumentProto> {
    flat_document().prop_recursive(3, 8, 2, |inner| {
        let nested = (flat_document(), vec(inner.clone(), 0..3), vec(inner, 0..3));
        nested.prop_map(|(document, chunks, matches)| DocumentProto {
            chunks,
            matches,
            ..document
        })
    })
}

fn flat_document() -> impl Strategy<Value = DocumentProto> {
    let content = option::of(prop_oneof![
        text().prop_map(Content::Text),
        vec(any::<u8>(), 0..9).prop_map(|bytes| Content::Blob(bytes.into())),
    ]);
    let texts = (text(), text(), text(), text());
    let numbers = (0..9_u32, 0..9_u32, single(), single(), vec(single(), 0..3));
    let maps = (
        option::of(structure()),
        option::of(structure()),
        scores(),
        scores(),
    );
    (texts, numbers, maps, content).prop_map(|(texts, numbers, maps, content)| DocumentProto {
        id: texts.0,
        parent_id: texts.1,
        uri: texts.2,
        modality: texts.3,
        granularity: numbers.0,
        adjacency: numbers.1,
        weight: numbers.2,
        offset: numbers.3,
        location: numbers.4,
        tags: maps.0,
        metadata: maps.1,
        scores: maps.2,
        evaluations: maps.3,
        content,
        ..Default::default()
    })
}

/// Arrays of each element type, with the number of bytes that their shape requires.
fn array() -> impl Strategy<Value = NdArrayProto> {
    let types = [
        ("|b1", 1),
        ("|i1", 1),
        ("|u1", 1),
        ("<i2", 2),
        (">i2", 2),
        ("<u2", 2),
        ("<f2", 2),
        (">f2", 2),
        ("<i4", 4),
        ("<u4", 4),
        (">u4", 4),
        ("<f4", 4),
        (">f4", 4),
        ("<i8", 8),
        (">i8", 8),
        ("<f8", 8),
        (">f8", 8),
        ("<U2", 8),
        (">U2", 8),
    ];
    let shape = vec(0..4_u32, 0..4);
    (proptest::sample::select(types.to_vec()), shape)
        .prop_flat_map(|((dtype, size), shape)| {
            let count: u32 = shape.iter().product();
            let bytes = vec(any::<u8>(), count as usize * size);
            (bytes, Just(shape)).prop_map(move |(mut bytes, shape)| {
                if dtype.contains('U') {
                    // ASCII letters, so that no element reads as a number.
                    bytes = bytes
                        .chunks(4)
                        .flat_map(|four| utf32_letter(dtype, four[0]))
                        .collect();
                }
                dense_numpy(dtype, shape, bytes)
            })
        })
        // An array without dimensions must have an element.
        .prop_filter("an array", |array| !is_empty_scalar(array))
}

fn utf32_letter(dtype: &str, byte: u8) -> [u8; 4] {
    let letter = u32::from(b'a' + byte % 13);
    if dtype.starts_with('>') {
        letter.to_be_bytes()
    } else {
        letter.to_le_bytes()
    }
}

fn dense_numpy(dtype: &str, shape: Vec<u32>, bytes: Vec<u8>) -> NdArrayProto {
    NdArrayProto {
        cls_name: "numpy".to_owned(),
        parameters: None,
        content: Some(nd_array_proto::Content::Dense(DenseNdArrayProto {
            buffer: bytes.into(),
            shape,
            dtype: dtype.to_owned(),
        })),
    }
}

fn is_empty_scalar(array: &NdArrayProto) -> bool {
    matches!(&array.content, Some(nd_array_proto::Content::Dense(dense)) if dense.shape.is_empty() && dense.buffer.is_empty())
}

prop_compose! {
    fn any_dense()(
        dtype in prop_oneof!["[<>|=]?[biufUOScM][0-9]{0,2}", any::<String>()],
        shape in vec(prop_oneof![0..5_u32, any::<u32>()], 0..5),
        buffer in vec(any::<u8>(), 0..64),
    ) -> DenseNdArrayProto {
        DenseNdArrayProto { buffer: buffer.into(), shape, dtype }
    }
}

fn any_array() -> impl Strategy<Value = NdArrayProto> {
    let sparse = (
        option::of(any_dense()),
        option::of(any_dense()),
        vec(0..9_u32, 0..4),
    );
    let sparse = sparse.prop_map(|(indices, values, shape)| SparseNdArrayProto {
        indices,
        values,
        shape,
    });
    let content = prop_oneof![
        any_dense().prop_map(nd_array_proto::Content::Dense),
        sparse.prop_map(|sparse| nd_array_proto::Content::Sparse(Box::new(sparse))),
    ];
    let class = proptest::sample::select(vec!["numpy", "list", "torch", "tensorflow", "", "x"]);
    (class, option::of(content)).prop_map(|(class, content)| NdArrayProto {
        cls_name: class.to_owned(),
        parameters: None,
        content,
    })
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::Int),
        any::<f64>().prop_map(Json::Float),
        "-?[1-9][0-9]{20,40}".prop_map(|digits| Json::BigInt(digits.into())),
        prop_oneof![any::<String>(), ".{2}", "-?[0-9_.]{0,5}"]
            .prop_map(|text| Json::String(text.into())),
        vec(any::<i64>(), 1..4).prop_map(|items| Json::Ints(items.into())),
        vec(any::<f64>(), 1..4).prop_map(|items| Json::Floats(items.into())),
    ];
    let keys = proptest::sample::select(vec![
        "id",
        "docs",
        "granularity",
        "blob",
        "tensor",
        "weight",
        "uri",
        "mime_type",
        "tags",
        "location",
        "scores",
        "chunks",
        "matches",
        "_metadata",
        "value",
        "status",
        "start_time",
    ]);
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| Json::List(items.into())),
            vec((keys.clone().prop_map(Box::from), inner), 0..4)
                .prop_map(|entries| Json::Object(entries.into())),
        ]
    })
}
