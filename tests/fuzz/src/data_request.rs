//! A `jina.DataRequestProto` in pieces is decoded like the whole, is encoded again without a change, and stays within the
//! limits when its documents are decoded.

use bytes::{Bytes, BytesMut};
use flowgate_proto::{
    DataRequest, DecodeLimits, DocumentsError, docarray::DocumentProto, json, normalize_all,
};
use prost::Message as _;

use crate::pieces::{cut_shared, seeded};

const LIMITS: DecodeLimits = DecodeLimits {
    max_documents: 20,
    max_decoded_bytes: 64 << 10,
};

/// The first byte cuts the rest.
pub(crate) fn check(input: &[u8]) {
    let (seed, wire) = seeded(input);
    let wire = Bytes::copy_from_slice(wire);
    let whole = DataRequest::decode(wire.clone());
    let pieces = DataRequest::from_chunks(cut_shared(seed, &wire).collect());
    assert_eq!(pieces.is_ok(), whole.is_ok());
    let (Ok(pieces), Ok(whole)) = (pieces, whole) else {
        return;
    };
    let encoded = Bytes::from(whole.encode_to_vec());
    assert_eq!(whole.encoded_len(), encoded.len());
    assert_eq!(pieces.encoded_len(), encoded.len());
    let sent = pieces.clone().into_chunks(BytesMut::new());
    assert_eq!(sent.into_bytes(), encoded);
    let again = DataRequest::decode(encoded.clone()).expect("just encoded");
    assert_eq!(again.encode_to_vec(), encoded);
    assert_eq!(
        pieces.documents.has_all_ids(),
        whole.documents.has_all_ids()
    );
    check_parameters(&whole);
    check_documents(pieces);
}

fn check_parameters(request: &DataRequest) {
    let (keys, decoded) = (request.parameters.keys(), request.parameters.decode());
    if let Ok(decoded) = &decoded {
        let keys = keys.expect("what can be decoded can be listed");
        assert!(keys.iter().all(|key| decoded.fields.contains_key(key)));
        assert!(decoded.fields.keys().all(|key| keys.contains(key)));
        let results = request.parameters.results().expect("decodable");
        assert!(results.is_none_or(|results| !results.fields.is_empty()));
    }
}

fn check_documents(mut request: DataRequest) {
    if request.set_decode_limits(LIMITS).is_err() {
        return;
    }
    let (is_within, has_ids) = (
        request.documents.check_limits().is_ok(),
        request.documents.has_all_ids(),
    );
    let mut documents = match request.documents.clone().into_vec() {
        Ok(documents) => documents,
        Err(error) => {
            let is_too_large = matches!(error, DocumentsError::TooLarge(_));
            assert_eq!(is_within, !is_too_large, "{error}");
            return;
        }
    };
    assert!(is_within);
    assert!(count(&documents) <= LIMITS.max_documents);
    if has_ids {
        assert!(documents.iter().all(has_all_ids));
    }
    normalize_all(&mut documents);
    assert!(documents.iter().all(has_all_ids));
    let once = documents.clone();
    normalize_all(&mut documents);
    assert_eq!(once.len(), documents.len());
    request.documents = documents.into();
    check_json(&request);
}

/// Whatever is written as JSON can be parsed as JSON.
fn check_json(request: &DataRequest) {
    if let Ok(written) = json::write_http(request) {
        json::parse(&written).expect("JSON");
    }
    if let Ok(written) = json::write_websocket(request) {
        json::parse(written.as_bytes()).expect("JSON");
    }
}

pub(crate) fn count(documents: &[DocumentProto]) -> usize {
    let nested = documents
        .iter()
        .map(|document| count(&document.chunks) + count(&document.matches));
    documents.len() + nested.sum::<usize>()
}

fn has_all_ids(document: &DocumentProto) -> bool {
    let mut nested = document.chunks.iter().chain(&document.matches);
    !document.id.is_empty() && nested.all(has_all_ids)
}
