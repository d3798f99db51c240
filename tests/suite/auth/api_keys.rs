//! API keys: where they are accepted, what is open without one, and that they do not reach Executors.

use bytes::Bytes;
use flowgate_config::Protocol::{Grpc, Http, WebSocket};
use flowgate_tests::{
    client::{HttpResponse, RawGrpc, http},
    flow::ServedGateway,
    recorder::{Recorder, Rpc},
};
use http::{Request, header};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;

use super::{SINGLE, flow, grpc, handshake, post, send};

const KEY: &str = "a-key-of-some-length";

fn with_key(more: &str) -> String {
    flow(&format!(
        "auth: {{api_keys: [{{name: shop, key: {KEY}}}]{more}}}"
    ))
}

async fn get(authority: &str, path: &str, headers: &[(&str, &str)]) -> HttpResponse {
    send("GET", authority, path, headers, Bytes::new()).await
}

#[tokio::test]
async fn http_requires_a_key_and_explains_a_missing_one() {
    let gateway = ServedGateway::start(&with_key("")).await;
    let authority = gateway.authority(Http);
    assert_eq!(post(&authority, &[("x-api-key", KEY)]).await.status, 200);
    let bearer = format!("Bearer {KEY}");
    assert_eq!(
        post(&authority, &[("authorization", &bearer)]).await.status,
        200
    );

    let rejected = post(&authority, &[]).await;
    assert_eq!(rejected.status, 401);
    assert_eq!(
        rejected.headers["www-authenticate"],
        "Bearer realm=\"flowgate\""
    );
    assert_eq!(rejected.content_type(), Some("application/json"));
    let detail = "missing credentials: send an API key in `x-api-key` or `authorization: Bearer`";
    assert_eq!(rejected.json(), json!({ "detail": detail }));
    let wrong = post(&authority, &[("x-api-key", "a-key-of-some-lengtH")]).await;
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.json(), json!({"detail": "unknown API key"}));
    // A key in the query is not accepted.
    let query = get(&authority, &format!("/status?x-api-key={KEY}"), &[]).await;
    assert_eq!(query.status, 401);
    gateway.stop().await;
}

#[tokio::test]
async fn only_health_is_open_without_a_key() {
    let gateway = ServedGateway::start(&with_key("")).await;
    let authority = gateway.authority(Http);
    assert_eq!(get(&authority, "/", &[]).await.status, 200);
    for path in [
        "/status",
        "/dry_run",
        "/docs",
        "/openapi.json",
        "/%73tatus",
        "/status/",
        "/nowhere",
        "//",
    ] {
        assert_eq!(get(&authority, path, &[]).await.status, 401, "{path}");
    }
    assert_eq!(
        send("POST", &authority, "/", &[], Bytes::new())
            .await
            .status,
        401
    );
    assert_eq!(
        get(&authority, "/nowhere", &[("x-api-key", KEY)])
            .await
            .status,
        404
    );
    // Plain HTTP on the WebSocket's port requires the key too.
    let debug = gateway.authority(WebSocket);
    assert_eq!(get(&debug, "/", &[]).await.status, 200);
    assert_eq!(get(&debug, "/status", &[]).await.status, 401);
    assert_eq!(
        get(&debug, "/status", &[("x-api-key", KEY)]).await.status,
        200
    );
    // gRPC.
    let authority = gateway.authority(Grpc);
    let health = RawGrpc::new(&authority)
        .unary(
            "/grpc.health.v1.Health/Check",
            tonic::Request::new(Bytes::new()),
        )
        .await;
    assert!(health.is_ok(), "{health:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn configured_routes_are_open() {
    let open = ", open: {http: [/status, '/docs/*'], grpc: [/jina.JinaInfoRPC/_status]}";
    let gateway = ServedGateway::start(&with_key(open)).await;
    let authority = gateway.authority(Http);
    for (path, status) in [
        ("/status", 200),
        ("/docs", 401),
        ("/dry_run", 401),
        ("/docs/x", 404),
    ] {
        assert_eq!(get(&authority, path, &[]).await.status, status, "{path}");
    }
    let authority = gateway.authority(Grpc);
    assert!(
        grpc(&authority, "/jina.JinaInfoRPC/_status", &[])
            .await
            .is_ok()
    );
    let rejected = grpc(&authority, SINGLE, &[]).await.expect_err("not open");
    assert_eq!(rejected.code(), Code::Unauthenticated);
    gateway.stop().await;
}

#[tokio::test]
async fn a_preflight_needs_no_key_and_a_rejection_has_cors_headers() {
    let yaml = with_key("").replace("protocol:", "cors: true, protocol:");
    let gateway = ServedGateway::start(&yaml).await;
    let authority = gateway.authority(Http);
    let origin = ("origin", "https://page.example");
    let headers = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-api-key"),
    ];
    let preflight = send("OPTIONS", &authority, "/post", &headers, Bytes::new()).await;
    assert_eq!(preflight.status, 200);
    assert_eq!(
        preflight.headers["access-control-allow-headers"],
        "x-api-key"
    );
    let rejected = post(&authority, &[origin]).await;
    assert_eq!(rejected.status, 401);
    assert!(rejected.headers.contains_key("access-control-allow-origin"));
    gateway.stop().await;
}

#[tokio::test]
async fn grpc_requires_a_key_in_the_metadata() {
    let gateway = ServedGateway::start(&with_key("")).await;
    let authority = gateway.authority(Grpc);
    assert!(
        grpc(&authority, SINGLE, &[("x-api-key", KEY)])
            .await
            .is_ok()
    );
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    for method in [
        SINGLE,
        "/jina.JinaRPC/Call",
        "/jina.JinaGatewayDryRunRPC/dry_run",
        reflection,
        "/no/thing",
    ] {
        let rejected = grpc(&authority, method, &[("x-api-key", "wrong")]).await;
        let rejected = rejected.expect_err("a wrong key");
        assert_eq!(rejected.code(), Code::Unauthenticated, "{method}");
        assert_eq!(rejected.message(), "unknown API key");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_websocket_is_rejected_at_the_handshake() {
    let gateway = ServedGateway::start(&with_key("")).await;
    let authority = gateway.authority(WebSocket);
    for path in ["/", "/dry_run", "/nowhere"] {
        let rejected = handshake(&authority, path, &[]).await;
        assert!(rejected.starts_with("http/1.1 401"), "{rejected}");
        assert!(rejected.contains("www-authenticate: bearer"), "{rejected}");
    }
    let opened = handshake(&authority, "/", &[("x-api-key", KEY)]).await;
    assert!(opened.starts_with("http/1.1 101"), "{opened}");
    let query = handshake(&authority, &format!("/?token={KEY}"), &[]).await;
    assert!(query.starts_with("http/1.1 401"), "{query}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_browser_sends_its_key_as_a_subprotocol() {
    let gateway = ServedGateway::start(&with_key("")).await;
    let authority = gateway.authority(WebSocket);
    let connect = |offered: String| {
        let authority = authority.clone();
        async move { handshake(&authority, "/", &[("sec-websocket-protocol", &offered)]).await }
    };
    let opened = connect(format!("bytes, flowgate.bearer.{KEY}")).await;
    assert!(opened.starts_with("http/1.1 101"), "{opened}");
    assert!(
        opened.contains("sec-websocket-protocol: bytes\r\n"),
        "{opened}"
    );
    assert!(!opened.contains(KEY), "{opened}");
    let alone = connect(format!("flowgate.bearer.{KEY}")).await;
    assert!(alone.starts_with("http/1.1 101"), "{alone}");
    assert!(!alone.contains("sec-websocket-protocol"), "{alone}");
    let wrong = connect("json, flowgate.bearer.wrong".to_owned()).await;
    assert!(wrong.starts_with("http/1.1 401"), "{wrong}");
    gateway.stop().await;
}

#[tokio::test]
async fn protocols_that_are_not_listed_need_no_key() {
    let gateway = ServedGateway::start(&with_key(", protocols: [grpc]")).await;
    assert_eq!(post(&gateway.authority(Http), &[]).await.status, 200);
    let opened = handshake(&gateway.authority(WebSocket), "/", &[]).await;
    assert!(opened.starts_with("http/1.1 101"), "{opened}");
    let rejected = grpc(&gateway.authority(Grpc), SINGLE, &[]).await;
    assert_eq!(rejected.expect_err("guarded").code(), Code::Unauthenticated);
    gateway.stop().await;
}

/// Makes a unary call by gRPC-Web or Connect, and returns whether its credentials are rejected.
async fn is_rejected(authority: &str, kind: &str, key: &str) -> bool {
    // An empty message in each encoding.
    let body: &'static [u8] = match kind {
        "application/proto" => &[],
        "application/grpc-web-text" => b"AAAAAAA=",
        _ => &[0; 5],
    };
    let request = Request::post(format!("http://{authority}{SINGLE}"))
        .header(header::CONTENT_TYPE, kind)
        .header("x-api-key", key)
        .body(Bytes::from_static(body))
        .expect("a request");
    let response = http(request).await;
    match response.status {
        401 => true,
        200 => match response.headers.get("grpc-status") {
            Some(status) => {
                assert_eq!(status, "16", "{kind}");
                true
            }
            None => false,
        },
        status => panic!("{kind}: {status}"),
    }
}

#[tokio::test]
async fn grpc_web_and_connect_require_a_key_when_grpc_or_http_does() {
    for (protocols, is_guarded) in [
        ("grpc", true),
        ("http", true),
        ("websocket", false),
        ("grpc, http, websocket", true),
    ] {
        let yaml = with_key(&format!(", protocols: [{protocols}]"));
        let gateway = ServedGateway::start(&yaml).await;
        for port in [Http, Grpc] {
            let authority = gateway.authority(port);
            for kind in [
                "application/proto",
                "application/grpc-web+proto",
                "application/grpc-web-text",
            ] {
                let case = format!("{kind} on the port of {port} with {protocols}");
                let rejected = is_rejected(&authority, kind, "wrong").await;
                assert_eq!(rejected, is_guarded, "{case}");
                assert!(!is_rejected(&authority, kind, KEY).await, "{case}");
            }
        }
        gateway.stop().await;
    }
}

/// An unauthenticated client cannot make the Gateway read its body.
#[tokio::test]
async fn a_rejection_does_not_wait_for_the_body() {
    let gateway = ServedGateway::start(&with_key("")).await;
    let authority = gateway.authority(Http);
    for (path, kind) in [
        ("/post", "application/json"),
        (SINGLE, "application/proto"),
        (SINGLE, "application/grpc-web+proto"),
    ] {
        let mut stream = TcpStream::connect(&authority).await.expect("a connection");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {kind}\r\nContent-Length: 1000000\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut response = vec![0; 12];
        stream.read_exact(&mut response).await.expect("a response");
        let status = String::from_utf8_lossy(&response);
        // gRPC-Web has its status in a header.
        let expected = if kind.contains("grpc") { "200" } else { "401" };
        assert_eq!(status, format!("HTTP/1.1 {expected}"), "{kind}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn credentials_are_not_forwarded_to_executors() {
    let recorder = Recorder::start(&[Rpc::Single]).await;
    let yaml = format!(
        "jtype: Flow\ngateway: {{protocol: [grpc, http], port: [0, 0], auth: {{api_keys: [{{name: a, key: {KEY}}}]}}}}\n\
         executors: [{{name: e, host: 'grpc://localhost:{}'}}]\n",
        recorder.port()
    );
    let gateway = ServedGateway::start(&yaml).await;
    let bearer = format!("Bearer {KEY}");
    let response = post(
        &gateway.authority(Http),
        &[("x-api-key", KEY), ("authorization", &bearer)],
    )
    .await;
    assert_eq!(response.status, 200);
    let metadata = [("x-api-key", KEY), ("authorization", bearer.as_str())];
    grpc(&gateway.authority(Grpc), SINGLE, &metadata)
        .await
        .expect("admitted");
    let sent = recorder.data_calls();
    assert_eq!(
        sent.iter().filter(|sent| sent.rpc == Rpc::Single).count(),
        2
    );
    for sent in sent {
        assert!(!format!("{sent:?}").contains(KEY), "{sent:?}");
    }
    gateway.stop().await;
}
