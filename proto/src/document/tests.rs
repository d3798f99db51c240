//! Cases of `normalize` that the recordings in `json/testdata/documents.json` do not cover: Python's MIME
//! types, ids and depth.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message as _;

use super::*;
use crate::docarray::DocumentArrayProto;

#[test]
fn a_document_without_an_id_gets_one_and_its_chunks_refer_to_it() {
    let mut document = DocumentProto {
        chunks: vec![DocumentProto::default()],
        ..Default::default()
    };
    normalize(&mut document);
    assert_eq!(document.id.len(), 32);
    assert!(document.id.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(document.chunks[0].parent_id, document.id);
    assert_ne!(document.chunks[0].id, document.id);
}

#[test]
fn an_id_and_non_empty_values_stay() {
    let mut document = DocumentProto {
        id: "a".to_owned(),
        content: Some(Content::Text("x".to_owned())),
        weight: 0.5,
        ..Default::default()
    };
    let before = document.clone();
    normalize(&mut document);
    assert_eq!(document, before);
}

/// From the table of Python 3.10's `mimetypes`, both where it differs from the crate and where it agrees.
#[test]
fn mime_types_are_those_of_python() {
    let cases = [
        ("a.bmp", "image/x-ms-bmp"),
        ("a.h5", "application/x-hdf5"),
        ("a.js", "application/javascript"),
        ("a.mjs", "application/javascript"),
        ("a.py", "text/x-python"),
        ("a.wav", "audio/x-wav"),
        ("a.jpg", "image/jpeg"),
        ("a.mp4", "video/mp4"),
        ("a.pdf", "application/pdf"),
        ("a.svgz", "image/svg+xml"),
        ("a.txz", "application/x-tar"),
    ];
    for (uri, expected) in cases {
        assert_eq!(mime::guess(uri).as_deref(), Some(expected), "{uri}");
    }
}

#[test]
fn chunks_are_visited_down_to_the_depth_limit() {
    let mut document = DocumentProto::default();
    for _ in 0..2 * MAX_DEPTH {
        document = DocumentProto {
            chunks: vec![document],
            ..Default::default()
        };
    }
    normalize(&mut document);
    assert!(!document.id.is_empty());
}

/// Documents of all kinds, as recorded from clients and as they are after that.
fn recorded() -> Vec<DocumentProto> {
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("../json/testdata/documents.json")).expect("JSON");
    let encoded = recorded
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|case| {
            [&case["sent"], &case["normalized"]].map(|text| text.as_str().map(str::to_owned))
        });
    encoded
        .flatten()
        .flat_map(|text| {
            let bytes = STANDARD.decode(text).expect("base64");
            DocumentArrayProto::decode(&bytes[..])
                .expect("documents")
                .docs
        })
        .collect()
}

#[test]
fn documents_that_count_as_normal_are_not_changed() {
    let (mut normal, mut normalized) = (0, 0);
    for document in recorded() {
        let mut changed = vec![document.clone()];
        normalize_all(&mut changed);
        if normal::are_normal(std::slice::from_ref(&document)) {
            normal += 1;
            assert_eq!(changed[0], document);
        }
        normalized += usize::from(normal::are_normal(&changed));
    }
    assert!(
        normal > 20 && normalized > normal,
        "{normal} and {normalized}"
    );
}

#[test]
fn a_shared_list_is_copied_only_if_it_changes() {
    let list = |id: &str| {
        Arc::new(vec![DocumentProto {
            id: id.to_owned(),
            ..Default::default()
        }])
    };
    let shared = list("a");
    let mut other = Arc::clone(&shared);
    normalize_shared(&mut other);
    assert!(Arc::ptr_eq(&shared, &other));
    let shared = list("");
    let mut other = Arc::clone(&shared);
    normalize_shared(&mut other);
    assert_eq!(shared[0].id, "");
    assert_ne!(other[0].id, "");
}
