//! Responses of every size encoded as messages, and parts put together again.

use base64::Engine as _;
use flowgate_proto::{
    Kind, Struct,
    docarray::{DocumentProto, document_proto::Content},
    jina::{HeaderProto, RouteProto},
    struct_from_json,
};
use serde_json::Value as Json;

use super::{super::encode::BASE64, *};

const SMALL: MessageLimits = MessageLimits {
    message_bytes: 2000,
    parts: 64,
};

fn document(id: &str, bytes: usize) -> DocumentProto {
    DocumentProto {
        id: id.to_owned(),
        content: Some(Content::Text("x\"".repeat(bytes / 2))),
        ..Default::default()
    }
}

fn response(documents: Vec<DocumentProto>) -> DataRequest {
    let fields = struct_from_json(json!({"top_k": 3.0}))
        .expect("an object")
        .fields;
    DataRequest {
        header: HeaderProto {
            request_id: "mine".to_owned(),
            ..Default::default()
        },
        parameters: Struct { fields }.into(),
        routes: vec![RouteProto {
            executor: "gateway".to_owned(),
            ..Default::default()
        }],
        documents: documents.into(),
        ..Default::default()
    }
}

/// Documents of all sizes that a message of [`SMALL`] can hold.
fn documents_of_all_sizes() -> Vec<DocumentProto> {
    let sizes = [0, 800, 30, 600, 600, 100, 700, 0, 1].iter().cycle();
    let numbered = sizes.take(40).enumerate();
    numbered
        .map(|(number, bytes)| document(&number.to_string(), *bytes))
        .collect()
}

fn parse(text: &str) -> Json {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_small_response_is_one_message_without_a_mark() {
    for format in [Subprotocol::Json, Subprotocol::Bytes] {
        let whole = response(vec![document("a", 100)]);
        let messages = encode_response(whole.clone(), format, SMALL).expect("encoded");
        assert_eq!(messages, [encode(&whole, format).expect("encoded")]);
    }
}

#[test]
fn the_joined_parts_are_the_unsplit_response() {
    let whole =
        parse(&encode(&response(documents_of_all_sizes()), Subprotocol::Json).expect("encoded"));
    let parts = encode_response(response(documents_of_all_sizes()), Subprotocol::Json, SMALL)
        .expect("encoded");
    assert!(parts.len() > 5, "{}", parts.len());
    let mut joined: Option<Json> = None;
    for (index, part) in parts.iter().enumerate() {
        assert!(part.len() <= SMALL.message_bytes, "{}", part.len());
        let mut part = parse(part);
        let mark = part.as_object_mut().expect("an object").remove("part");
        assert_eq!(mark, Some(json!({"index": index, "of": parts.len()})));
        match &mut joined {
            None => joined = Some(part),
            Some(joined) => {
                let more = part["data"].as_array_mut().expect("a list").split_off(0);
                let documents = joined["data"].as_array_mut().expect("a list");
                documents.extend(more);
                assert_eq!(joined["header"], part["header"]);
            }
        }
    }
    assert_eq!(joined, Some(whole));
}

#[test]
fn parts_in_protobuf_are_marked_in_their_parameters() {
    let parts = encode_response(
        response(documents_of_all_sizes()),
        Subprotocol::Bytes,
        SMALL,
    )
    .expect("encoded");
    assert!(parts.len() > 5, "{}", parts.len());
    let mut documents = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        assert!(part.len() <= SMALL.message_bytes, "{}", part.len());
        let bytes = BASE64.decode(part).expect("base64");
        let part = DataRequest::decode(&bytes[..]).expect("protobuf");
        let mut parameters = part.parameters.decode().expect("a Struct");
        let mark = parameters.fields.remove("__part__").expect("marked");
        let expected = json!({"index": index, "of": parts.len()});
        assert_eq!(mark.kind, struct_from_json(expected).map(Kind::StructValue));
        documents.extend(part.documents.clone().into_vec().expect("documents"));
        let rest = DataRequest {
            parameters: parameters.into(),
            documents: documents_of_all_sizes().into(),
            ..part
        };
        assert_eq!(rest, response(documents_of_all_sizes()));
    }
    assert_eq!(documents, documents_of_all_sizes());
}

/// The separators between documents add up.
#[test]
fn no_part_of_many_small_documents_is_too_large() {
    let limits = MessageLimits {
        message_bytes: 128 << 10,
        parts: 64,
    };
    let small: Vec<_> = (0..5000).map(|_| document("0", 2)).collect();
    for format in [Subprotocol::Json, Subprotocol::Bytes] {
        let parts = encode_response(response(small.clone()), format, limits).expect("encoded");
        let largest = parts.iter().map(String::len).max();
        assert!(largest <= Some(limits.message_bytes), "{largest:?}");
    }
}

#[test]
fn parts_are_as_full_as_they_can_be() {
    let equal: Vec<_> = (0..100).map(|_| document("0123", 40)).collect();
    for format in [Subprotocol::Json, Subprotocol::Bytes] {
        let parts = encode_response(response(equal.clone()), format, SMALL).expect("encoded");
        let all = parts.split_last().expect("parts").1;
        for part in all {
            assert!(part.len() > SMALL.message_bytes * 3 / 4, "{}", part.len());
        }
    }
}

#[test]
fn a_response_that_cannot_be_split_is_an_error_with_its_size() {
    for format in [Subprotocol::Json, Subprotocol::Bytes] {
        let detail = |documents, limits| {
            let encoded = encode_response(response(documents), format, limits);
            let error = encoded.expect_err("too large");
            assert_eq!((error.code, error.status), (1009, 413));
            error.detail().to_owned()
        };
        let large = detail(vec![document("a", 10), document("b", 3000)], SMALL);
        assert!(
            large.starts_with("document 1 of the response takes "),
            "{large}"
        );
        let two_parts = MessageLimits { parts: 2, ..SMALL };
        let many = detail(documents_of_all_sizes(), two_parts);
        assert!(many.ends_with("max_parts is 2"), "{many}");
        let tiny = MessageLimits {
            message_bytes: 50,
            parts: 64,
        };
        let empty = detail(Vec::new(), tiny);
        assert!(empty.contains("without its documents"), "{empty}");
    }
}
