//! Answers of any size as messages, and parts put together again.

use flowgate_proto::{
    Struct,
    docarray::{DocumentProto, document_proto::Content},
    jina::{HeaderProto, RouteProto},
};
use serde_json::Value as Json;

use super::*;

const SMALL: Bounds = Bounds {
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

fn answer(documents: Vec<DocumentProto>) -> DataRequest {
    let fields = structure(json!({"top_k": 3.0})).expect("an object").fields;
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
fn many() -> Vec<DocumentProto> {
    let sizes = [0, 800, 30, 600, 600, 100, 700, 0, 1].iter().cycle();
    let numbered = sizes.take(40).enumerate();
    numbered
        .map(|(number, bytes)| document(&number.to_string(), *bytes))
        .collect()
}

fn parsed(text: &str) -> Json {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn what_fits_is_one_message_without_a_mark() {
    for form in [Subprotocol::Json, Subprotocol::Bytes] {
        let held = answer(vec![document("a", 100)]);
        let messages = write(held.clone(), form, SMALL).expect("written");
        assert_eq!(messages, [text(&held, form).expect("written")]);
    }
}

#[test]
fn the_whole_is_a_part_without_mark_with_the_documents_of_all() {
    let whole = parsed(&text(&answer(many()), Subprotocol::Json).expect("written"));
    let parts = write(answer(many()), Subprotocol::Json, SMALL).expect("written");
    assert!(parts.len() > 5, "{}", parts.len());
    let mut joined: Option<Json> = None;
    for (index, part) in parts.iter().enumerate() {
        assert!(part.len() <= SMALL.message_bytes, "{}", part.len());
        let mut part = parsed(part);
        let mark = part.as_object_mut().expect("an object").remove("part");
        assert_eq!(mark, Some(json!({"index": index, "of": parts.len()})));
        match &mut joined {
            None => joined = Some(part),
            Some(joined) => {
                let more = part["data"].as_array_mut().expect("a list").split_off(0);
                let held = joined["data"].as_array_mut().expect("a list");
                held.extend(more);
                assert_eq!(joined["header"], part["header"]);
            }
        }
    }
    assert_eq!(joined, Some(whole));
}

#[test]
fn parts_in_protobuf_are_marked_in_their_parameters() {
    let parts = write(answer(many()), Subprotocol::Bytes, SMALL).expect("written");
    assert!(parts.len() > 5, "{}", parts.len());
    let mut documents = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        assert!(part.len() <= SMALL.message_bytes, "{}", part.len());
        let bytes = BASE64.decode(part).expect("base64");
        let part = DataRequest::decode(&bytes[..]).expect("protobuf");
        let mut parameters = part.parameters.decode().expect("a Struct");
        let mark = parameters.fields.remove("__part__").expect("marked");
        let expected = json!({"index": index, "of": parts.len()});
        assert_eq!(mark.kind, structure(expected).map(Kind::StructValue));
        documents.extend(part.documents.clone().into_vec().expect("documents"));
        let rest = DataRequest {
            parameters: parameters.into(),
            documents: many().into(),
            ..part
        };
        assert_eq!(rest, answer(many()));
    }
    assert_eq!(documents, many());
}

/// What stands between two documents adds up.
#[test]
fn no_part_of_many_small_documents_is_too_large() {
    let bounds = Bounds {
        message_bytes: 128 << 10,
        parts: 64,
    };
    let small: Vec<_> = (0..5000).map(|_| document("0", 2)).collect();
    for form in [Subprotocol::Json, Subprotocol::Bytes] {
        let parts = write(answer(small.clone()), form, bounds).expect("written");
        let largest = parts.iter().map(String::len).max();
        assert!(largest <= Some(bounds.message_bytes), "{largest:?}");
    }
}

#[test]
fn parts_are_as_full_as_they_can_be() {
    let equal: Vec<_> = (0..100).map(|_| document("0123", 40)).collect();
    for form in [Subprotocol::Json, Subprotocol::Bytes] {
        let parts = write(answer(equal.clone()), form, SMALL).expect("written");
        let all = parts.split_last().expect("parts").1;
        for part in all {
            assert!(part.len() > SMALL.message_bytes * 3 / 4, "{}", part.len());
        }
    }
}

#[test]
fn what_cannot_be_split_is_refused_with_its_size() {
    for form in [Subprotocol::Json, Subprotocol::Bytes] {
        let refused = |documents, bounds| {
            let fault = write(answer(documents), form, bounds).expect_err("too large");
            assert_eq!((fault.code, fault.status), (1009, 413));
            fault.detail().to_owned()
        };
        let one = refused(vec![document("a", 10), document("b", 3000)], SMALL);
        assert!(one.starts_with("document 1 of the answer takes "), "{one}");
        let few = Bounds { parts: 2, ..SMALL };
        let many = refused(many(), few);
        assert!(many.ends_with("max_parts is 2"), "{many}");
        let tiny = Bounds {
            message_bytes: 50,
            parts: 64,
        };
        let none = refused(Vec::new(), tiny);
        assert!(none.contains("without its documents"), "{none}");
    }
}
