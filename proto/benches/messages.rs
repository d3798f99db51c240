//! How long it takes to decode and encode a request of three sizes, and to read and write JSON:
//! `cargo bench -p flowgate-proto --bench messages`.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use flowgate_proto::{
    DataRequest, DecodeLimits,
    docarray::{
        DenseNdArrayProto, DocumentProto, NdArrayProto, document_proto::Content, nd_array_proto,
    },
    generate_id,
    json::{self, EndpointFrom},
};
use prost::Message as _;

/// The floats of an embedding.
const DIMENSIONS: usize = 768;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench_messages(&mut criterion);
    bench_json(&mut criterion);
    criterion.final_summary();
}

/// Decodes a request from the wire and encodes it, as a Gateway does without reading its documents.
fn bench_messages(criterion: &mut Criterion) {
    let sizes = [
        ("37B", request(vec![document("document0", "hello world 0")])),
        ("5.6KB", request(texts())),
        ("312KB", request(embeddings())),
    ];
    let mut group = criterion.benchmark_group("decode_encode");
    for (name, request) in sizes {
        let wire: Bytes = request.encode_to_vec().into();
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let request = DataRequest::decode(black_box(wire.clone())).expect("a request");
                request.encode_to_vec()
            });
        });
    }
    group.finish();
}

/// Reads the bodies of `POST /post`, and writes their answers.
fn bench_json(criterion: &mut Criterion) {
    let bodies = [
        (
            "one_document",
            br#"{"execEndpoint":"/","data":[{"text":"hello world 0"}]}"#.to_vec(),
        ),
        ("100x768_floats", embeddings_body()),
    ];
    for (name, body) in bodies {
        let answer = read(&body);
        let mut group = criterion.benchmark_group("json");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("read_{name}"), |bencher| {
            bencher.iter(|| read(black_box(&body)));
        });
        group.bench_function(format!("write_{name}"), |bencher| {
            bencher.iter(|| json::write_http(black_box(&answer)).expect("JSON"));
        });
        group.finish();
    }
}

fn read(body: &[u8]) -> DataRequest {
    let parsed = json::parse_request(body, DecodeLimits::default()).expect("JSON");
    json::read_request(parsed, EndpointFrom::Body).expect("a request")
}

fn request(documents: Vec<DocumentProto>) -> DataRequest {
    let mut request = DataRequest::default();
    request.header.exec_endpoint = Some("/".to_owned());
    request.documents = documents.into();
    request
}

fn document(id: &str, text: &str) -> DocumentProto {
    DocumentProto {
        id: id.to_owned(),
        content: Some(Content::Text(text.to_owned())),
        ..DocumentProto::default()
    }
}

fn texts() -> Vec<DocumentProto> {
    (0..100)
        .map(|number| document(&generate_id(), &format!("some more text {number:03}")))
        .collect()
}

/// 100 documents of 768 floats of 4 bytes.
fn embeddings() -> Vec<DocumentProto> {
    let dense = DenseNdArrayProto {
        buffer: vec![1; DIMENSIONS * 4].into(),
        shape: vec![DIMENSIONS as u32],
        dtype: "<f4".to_owned(),
    };
    let embedding = NdArrayProto {
        cls_name: "numpy".to_owned(),
        content: Some(nd_array_proto::Content::Dense(dense)),
        ..NdArrayProto::default()
    };
    (0..100)
        .map(|_| DocumentProto {
            id: generate_id(),
            embedding: Some(Box::new(embedding.clone())),
            ..DocumentProto::default()
        })
        .collect()
}

/// The same as JSON, with all digits of the floats, as a model returns them.
fn embeddings_body() -> Vec<u8> {
    let documents: Vec<_> = (0..100)
        .map(|number| {
            let embedding: Vec<_> = (0..DIMENSIONS)
                .map(|index| ((number * 7919 + index * 104_729) % 1_000_003) as f64 / 1_000_003.0)
                .collect();
            serde_json::json!({"id": format!("{number:032x}"), "embedding": embedding})
        })
        .collect();
    serde_json::json!({"execEndpoint": "/", "data": documents})
        .to_string()
        .into_bytes()
}
