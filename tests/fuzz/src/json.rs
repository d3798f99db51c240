//! A body of JSON, over HTTP or a WebSocket, is read alike with and without a tree of its documents, and stays within the
//! limits.

use flowgate_proto::{
    DataRequest, DecodeLimits,
    docarray::DocumentProto,
    json::{self, EndpointFrom, ReadError, RequestBody, SyntaxErrorKind},
};

use crate::{data_request::count, pieces::seeded};

const LARGE: DecodeLimits = DecodeLimits {
    max_documents: 1000,
    max_decoded_bytes: 8 << 20,
};

const SMALL: DecodeLimits = DecodeLimits {
    max_documents: 3,
    max_decoded_bytes: 4 << 10,
};

/// The first byte chooses the limits and where the endpoint comes from.
pub(crate) fn check(input: &[u8]) {
    let (seed, text) = seeded(input);
    let limits = if seed & 1 == 0 { LARGE } else { SMALL };
    let endpoint = match seed & 2 {
        0 => EndpointFrom::Body,
        _ => EndpointFrom::Path("/index"),
    };
    let tree = json::parse(text);
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(text) {
        assert!(tree.is_ok(), "not read: {value}");
    }
    let body = match json::parse_request(text, limits) {
        Ok(body) => body,
        Err(error) => {
            let is_too_large = matches!(error.kind, SyntaxErrorKind::TooLarge(_));
            assert!(is_too_large || tree == Err(error));
            return;
        }
    };
    let tree = tree.expect("read as a request");
    match json::read_request(body, endpoint) {
        Err(ReadError::TooLarge(_)) => {}
        Err(ReadError::Invalid(errors)) => {
            assert!(!errors.is_empty());
            let by_tree = json::read_request(RequestBody::from(tree), endpoint);
            assert_eq!(by_tree.err(), Some(ReadError::Invalid(errors)));
        }
        Ok(request) => {
            let by_tree = json::read_request(RequestBody::from(tree), endpoint);
            check_request(request, by_tree.expect("the same request"), limits);
        }
    }
}

fn check_request(request: DataRequest, by_tree: DataRequest, limits: DecodeLimits) {
    let written = json::write_http(&request).map(|written| json::parse(&written).is_ok());
    assert!(written.unwrap_or(true), "what is written is JSON");
    let written = json::write_websocket(&request);
    let written = written.map(|written| json::parse(written.as_bytes()).is_ok());
    assert!(written.unwrap_or(true), "what is written is JSON");
    let [first, second] = [request, by_tree].map(|mut request| {
        request.header.request_id.clear();
        let mut documents = request.documents.into_vec().expect("decoded");
        request.documents = Vec::new().into();
        assert!(count(&documents) <= limits.max_documents);
        documents.iter_mut().for_each(hide_ids);
        // NaN is not equal to itself.
        format!("{request:?} {documents:?}")
    });
    assert_eq!(first, second);
}

/// Generated ids differ each time.
fn hide_ids(document: &mut DocumentProto) {
    document.id.clear();
    document.parent_id.clear();
    document.chunks.iter_mut().for_each(hide_ids);
    document.matches.iter_mut().for_each(hide_ids);
}
