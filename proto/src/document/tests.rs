//! Cases of `normalize` that the recordings in `json/testdata/documents.json` do not cover: Python's MIME
//! types, ids and depth.

use super::*;

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
