//! Connect's codes: a client's own mistakes are 400 and `invalid_argument`, where gRPC has Jina's UNKNOWN.

use bytes::Bytes;
use executor_fn::struct_from_json;
use flowgate_config::Protocol;
use flowgate_proto::{
    Compression, DataRequest, docarray::DocumentProto, invoke::compress, jina::HeaderProto,
};
use flowgate_tests::{
    client::{HttpResponse, RawGrpc, http},
    executors::multi,
    flow::{ClosedPort, ServedExecutor, ServedGateway},
};
use http::Request;
use prost::Message as _;
use serde_json::json;
use tonic::Code;

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

const HEAD: &str = "jtype: Flow\n\
    gateway: {protocol: [grpc, http], port: [0, 0], internal_addresses_in_errors: false}\nexecutors:\n";

async fn call(gateway: &ServedGateway, encoding: &str, message: Bytes) -> HttpResponse {
    let authority = gateway.authority(Protocol::Http);
    let request = Request::post(format!("http://{authority}{SINGLE}"))
        .header("content-type", "application/proto")
        .header("content-encoding", encoding)
        .body(message);
    http(request.expect("a request")).await
}

fn request(target_executor: &str, tag: &str) -> Bytes {
    let header = HeaderProto {
        exec_endpoint: Some("/foo".to_owned()),
        target_executor: Some(target_executor.to_owned()),
        ..Default::default()
    };
    let document = DocumentProto {
        tags: Some(struct_from_json(json!({ "x": tag })).expect("an object")),
        ..Default::default()
    };
    let request = DataRequest {
        header,
        documents: vec![document].into(),
        ..Default::default()
    };
    request.encode_to_vec().into()
}

#[tokio::test]
async fn a_clients_own_mistakes_are_400() {
    let yaml =
        format!("{HEAD}  - {{name: e, uses: 'inproc://greet', when: {{tags__x: {{$gt: 1}}}}}}\n");
    let gateway = ServedGateway::start(&yaml).await;
    let garbage = Bytes::from_static(b"\xff\xff\xff garbage");
    for (case, message) in [
        ("DecodeError", garbage),
        ("re.error", request("[", "1")),
        ("tags__x", request("", "no number")),
    ] {
        let mut grpc = RawGrpc::new(&gateway.authority(Protocol::Grpc));
        let status = grpc.unary(SINGLE, tonic::Request::new(message.clone()));
        let status = status.await.expect_err("refused");
        assert_eq!(status.code(), Code::Unknown, "as in Jina: {status}");
        let gzip = compress(&message, Compression::Gzip).expect("compressed");
        for (encoding, body) in [("identity", message), ("gzip", gzip.into())] {
            let answer = call(&gateway, encoding, body).await;
            assert_eq!(answer.status, 400, "{case}: {:?}", answer.body);
            let error = answer.json();
            assert_eq!(error["code"], "invalid_argument", "{error}");
            assert_eq!(error["message"], status.message());
            assert!(status.message().contains(case), "{case}: {status}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_that_cannot_be_decompressed_is_400() {
    let gateway =
        ServedGateway::start(&format!("{HEAD}  - {{name: e, uses: 'inproc://greet'}}\n")).await;
    let broken = Bytes::from_static(b"\x1f\x8b\x08 and no more");
    let answer = call(&gateway, "gzip", broken).await;
    assert_eq!(answer.status, 400, "{:?}", answer.body);
    assert_eq!(answer.json()["code"], "invalid_argument");
    let answer = call(&gateway, "br", Bytes::from_static(b"?")).await;
    assert_eq!(answer.status, 501, "{:?}", answer.body);
    assert_eq!(answer.json()["code"], "unimplemented");
    gateway.stop().await;
}

#[tokio::test]
async fn failures_of_executors_stay_what_they_are() {
    let executor = ServedExecutor::start(multi(), "e").await;
    let (port, closed) = (executor.port(), ClosedPort::reserve());
    for (port, status, code) in [(port, 200, ""), (closed.port(), 503, "unavailable")] {
        let yaml = format!("{HEAD}  - {{name: e, external: true, port: {port}}}\n");
        let gateway = ServedGateway::start(&yaml).await;
        let answer = call(&gateway, "identity", request("", "1")).await;
        assert_eq!(answer.status, status, "{:?}", answer.body);
        if status != 200 {
            assert_eq!(answer.json()["code"], code);
        }
        gateway.stop().await;
    }
    executor.stop().await;
}
