//! Small messages that would become large when they are decoded are refused on every protocol, before they are decoded.

use bytes::Bytes;
use executor_fn::{Executor, Reply, ServeOptions};
use flowgate_config::Protocol;
use flowgate_proto::{
    Compression, DataRequest, docarray::DocumentProto, invoke::compress, jina::HeaderProto,
};
use flowgate_tests::{
    client::{HttpResponse, RawGrpc, http, websocket},
    executors::{multi, text},
    flow::{ServedExecutor, ServedGateway},
};
use http::{Request, header};
use prost::Message as _;
use tokio_tungstenite::tungstenite::Message;
use tonic::{Code, Status};

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";
const GATEWAY: &str = "jtype: Flow
gateway: {protocol: [grpc, http, websocket], port: [0, 0, 0]}
";
const IN_PROCESS: &str = "executors: [{name: g, uses: 'inproc://greet'}]\n";

/// A body with this number of empty documents.
fn body(documents: usize) -> String {
    format!(r#"{{"data":[{}]}}"#, vec!["{}"; documents].join(","))
}

async fn post_gzip(gateway: &ServedGateway, body: &str) -> HttpResponse {
    let body = compress(body.as_bytes(), Compression::Gzip).expect("compressed");
    let request = Request::post(format!("http://{}/post", gateway.authority(Protocol::Http)))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_ENCODING, "gzip");
    http(request.body(body.into()).expect("a request")).await
}

async fn send_over_grpc(gateway: &ServedGateway, documents: usize) -> Result<Bytes, Status> {
    let header = HeaderProto {
        exec_endpoint: Some("/foo".to_owned()),
        ..Default::default()
    };
    let request = DataRequest {
        header,
        documents: vec![DocumentProto::default(); documents].into(),
        ..Default::default()
    };
    let request = tonic::Request::new(Bytes::from(request.encode_to_vec()));
    let mut client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let response = client.unary(SINGLE, request).await?;
    Ok(response.into_inner())
}

fn assert_names_the_limit(text: &str) {
    assert!(text.contains("more than 250000 documents"), "{text}");
    assert!(text.contains("limits.max_documents"), "{text}");
}

/// Two million documents are six kilobytes of gzip.
#[tokio::test]
async fn a_compressed_body_of_too_many_documents_is_413() {
    let gateway = ServedGateway::start(&format!("{GATEWAY}{IN_PROCESS}")).await;
    let response = post_gzip(&gateway, &body(2_000_000)).await;
    assert_eq!(response.status, 413);
    assert_names_the_limit(response.json()["detail"].as_str().expect("a detail"));
    assert_eq!(post_gzip(&gateway, &body(1000)).await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn a_websocket_message_of_too_many_documents_is_1009() {
    let gateway = ServedGateway::start(&format!("{GATEWAY}{IN_PROCESS}")).await;
    let authority = gateway.authority(Protocol::WebSocket);
    let received = websocket(&authority, "/", None, vec![Message::text(body(300_000))]).await;
    let Some(Message::Close(Some(close))) = received.last() else {
        panic!("expected a close frame: {received:?}");
    };
    assert_eq!(u16::from(close.code), 1009);
    assert_names_the_limit(&close.reason);
    gateway.stop().await;
}

/// An Executor in the process, a join and a condition decode documents.
#[tokio::test]
async fn grpc_messages_of_too_many_documents_are_refused_where_they_are_decoded() {
    let executors = [
        IN_PROCESS.to_owned(),
        "executors:
  - {name: a, external: true, port: 1, when: {tags__x: {$eq: 1}}}
"
        .to_owned(),
    ];
    for executors in executors {
        let gateway = ServedGateway::start(&format!("{GATEWAY}{executors}")).await;
        let status = send_over_grpc(&gateway, 300_000).await;
        let status = status.expect_err("too many");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert_names_the_limit(status.message());
        gateway.stop().await;
    }
}

#[tokio::test]
async fn answers_of_too_many_documents_are_refused_at_a_join() {
    let many = Executor::new("Many")
        .on_default(async |_| Ok(Reply::documents(vec![text("", ""); 300_000])));
    let many = ServedExecutor::start(many, "many").await;
    let few = ServedExecutor::start(multi(), "few").await;
    let gateway = ServedGateway::start(&format!(
        "{GATEWAY}executors:
  - {{name: many, external: true, port: {}, needs: gateway}}
  - {{name: few, external: true, port: {}, needs: gateway}}
  - {{name: join, uses: 'inproc://greet', needs: [many, few]}}
",
        many.port(),
        few.port()
    ))
    .await;
    let status = send_over_grpc(&gateway, 1).await.expect_err("too many");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_names_the_limit(status.message());
    let response = post_gzip(&gateway, &body(1)).await;
    assert_eq!(response.status, 413, "{:?}", response.body);
    gateway.stop().await;
    many.stop().await;
    few.stop().await;
}

/// What is not decoded is not counted.
#[tokio::test]
async fn documents_that_are_only_forwarded_are_not_limited() {
    let executor = ServedExecutor::start(multi(), "e").await;
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0, limits: {{max_documents: 10}}}}\n\
         executors:\n  - {{name: e, external: true, port: {}}}\n",
        executor.port()
    ))
    .await;
    assert!(send_over_grpc(&gateway, 100).await.is_ok());
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn an_executor_refuses_too_many_documents() {
    let limit = ServeOptions::default().max_documents;
    let executor = ServedExecutor::start(multi(), "e").await;
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0}}\n\
         executors:\n  - {{name: e, external: true, port: {}}}\n",
        executor.port()
    ))
    .await;
    let status = send_over_grpc(&gateway, limit + 1)
        .await
        .expect_err("too many");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("max_documents"), "{status}");
    gateway.stop().await;
    executor.stop().await;
}

/// 30 MB are 30 KB of gzip.
#[tokio::test]
async fn a_compressed_message_beyond_the_limit_is_refused_over_grpc_web_and_connect() {
    let yaml =
        "jtype: Flow\ngateway: {protocol: http, port: 0, limits: {max_message_bytes: 3000000}}\n";
    let gateway = ServedGateway::start(&format!("{yaml}{IN_PROCESS}")).await;
    let large = request_with(&"x".repeat(30_000_000));
    let small = request_with(&"x".repeat(2_000_000));
    for (message, is_ok) in [(large, false), (small, true)] {
        let gzip = compress(&message, Compression::Gzip).expect("compressed");
        let length = u32::try_from(gzip.len()).expect("short").to_be_bytes();
        let framed = [&[1], &length[..], &gzip].concat();
        let post = |content_type, encoding, body: Vec<u8>| {
            let authority = gateway.authority(Protocol::Http);
            let request = Request::post(format!("http://{authority}{SINGLE}"))
                .header(header::CONTENT_TYPE, content_type)
                .header(encoding, "gzip")
                .body(body.into());
            http(request.expect("a request"))
        };
        let connect = post("application/proto", "content-encoding", gzip).await;
        let web = post("application/grpc-web+proto", "grpc-encoding", framed).await;
        if is_ok {
            assert_eq!(connect.status, 200, "{connect:?}");
            assert!(!web.headers.contains_key("grpc-status"), "{web:?}");
            continue;
        }
        assert_eq!(connect.status, 429, "{connect:?}");
        let detail = connect.json()["message"].to_string();
        assert!(detail.contains("3000000 bytes"), "{detail}");
        assert_eq!(web.headers["grpc-status"], "8", "{web:?}");
        let detail = web.headers["grpc-message"].to_str().expect("ASCII");
        assert!(detail.contains("3000000"), "{detail}");
    }
    gateway.stop().await;
}

fn request_with(id: &str) -> Vec<u8> {
    let document = DocumentProto {
        id: id.to_owned(),
        ..Default::default()
    };
    let request = DataRequest {
        documents: vec![document].into(),
        ..Default::default()
    };
    request.encode_to_vec()
}

#[tokio::test]
async fn the_limits_are_settings() {
    for (limits, name) in [
        ("max_documents: 10", "limits.max_documents"),
        ("max_decoded_bytes: 5000", "limits.max_decoded_bytes"),
        ("max_message_bytes: 1500", "limits.max_decoded_bytes"),
    ] {
        let gateway = ServedGateway::start(&format!(
            "jtype: Flow\nwith: {{protocol: http, port: 0, limits: {{{limits}}}}}\n{IN_PROCESS}"
        ))
        .await;
        let response = post_gzip(&gateway, &body(11)).await;
        assert_eq!(response.status, 413, "{limits}: {:?}", response.body);
        let detail = response.json()["detail"].to_string();
        assert!(detail.contains(name), "{detail}");
        assert_eq!(post_gzip(&gateway, &body(1)).await.status, 200, "{limits}");
        gateway.stop().await;
    }
}
