//! Flows with `auth`: which requests are admitted over HTTP, gRPC and WebSocket, and how others are rejected.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use bytes::Bytes;
use flowgate_config::Protocol::{Grpc, Http, WebSocket};
use flowgate_proto::{DataRequest, jina::HeaderProto};
use flowgate_tests::{
    client::{HttpResponse, RawGrpc, http},
    flow::ServedGateway,
    recorder::{Recorder, Rpc},
};
use http::{Request, header};
use prost::Message as _;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tonic::Code;

const KEY: &str = "a-key-of-some-length";

fn flow(auth: &str) -> String {
    format!(
        "jtype: Flow\ngateway: {{protocol: [grpc, http, websocket], port: [0, 0, 0], {auth}}}\n\
         executors: [{{name: g, uses: 'inproc://greet'}}]\n"
    )
}

fn with_key(more: &str) -> String {
    flow(&format!(
        "auth: {{api_keys: [{{name: shop, key: {KEY}}}]{more}}}"
    ))
}

async fn get(authority: &str, path: &str, headers: &[(&str, &str)]) -> HttpResponse {
    send("GET", authority, path, headers, Bytes::new()).await
}

async fn post(authority: &str, headers: &[(&str, &str)]) -> HttpResponse {
    let body = json!({"data": [{"text": "x"}]}).to_string();
    send("POST", authority, "/post", headers, body.into()).await
}

async fn send(
    method: &str,
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> HttpResponse {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{authority}{path}"))
        .header(header::CONTENT_TYPE, "application/json");
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    http(request.body(body).expect("a request")).await
}

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

async fn grpc(
    authority: &str,
    method: &str,
    metadata: &[(&'static str, &str)],
) -> Result<(), tonic::Status> {
    let request = DataRequest {
        header: HeaderProto {
            request_id: "r".to_owned(),
            ..Default::default()
        },
        ..Default::default()
    };
    let mut request = tonic::Request::new(Bytes::from(request.encode_to_vec()));
    for (name, value) in metadata {
        request
            .metadata_mut()
            .insert(*name, value.parse().expect("ASCII"));
    }
    let response = RawGrpc::new(authority).unary(method, request).await;
    response.map(|_| ())
}

/// Performs a WebSocket handshake and returns the response's status and headers.
async fn handshake(authority: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut stream = TcpStream::connect(authority).await.expect("a connection");
    let mut head = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        response.push(stream.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(response)
        .expect("ASCII")
        .to_ascii_lowercase()
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

/// A token issuer that counts the requests for its keys.
struct Issuer {
    key: KeyPair,
    port: u16,
    key_requests: tokio::sync::watch::Receiver<usize>,
}

impl Issuer {
    async fn start() -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let body = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": B64.encode(key.der_bytes())}]});
        let body = body.to_string();
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        let (count, key_requests) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = socket.accept().await {
                count.send_modify(|requests| *requests += 1);
                let _ = stream.read(&mut [0; 4096]).await;
                let length = body.len();
                let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                let _ = stream.write_all(response.as_bytes()).await;
            }
        });
        Self {
            key,
            port,
            key_requests,
        }
    }

    fn flow(&self) -> String {
        flow(&format!(
            "auth: {{jwt: {{issuer: me, audience: flowgate, scopes: call, jwks: 'http://127.0.0.1:{}/keys'}}}}",
            self.port
        ))
    }

    fn bearer(&self, kid: &str, claims: &[(&str, Value)]) -> String {
        let mut all = json!({"iss": "me", "aud": "flowgate", "sub": "alice", "exp": 4_102_444_800_u64, "scope": "call"});
        for (name, value) in claims {
            all[name] = value.clone();
        }
        let header = json!({"alg": "EdDSA", "kid": kid}).to_string();
        let message = format!("{}.{}", B64.encode(header), B64.encode(all.to_string()));
        let signature = self.key.sign(message.as_bytes()).expect("signed");
        format!("Bearer {message}.{}", B64.encode(signature))
    }
}

#[tokio::test]
async fn tokens_of_an_issuer_are_accepted_over_every_protocol() {
    let issuer = Issuer::start().await;
    let gateway = ServedGateway::start(&issuer.flow()).await;
    assert_eq!(
        *issuer.key_requests.borrow(),
        0,
        "keys are not fetched before the first token"
    );
    let valid = issuer.bearer("k", &[]);
    let without_scope = issuer.bearer("k", &[("scope", json!("read"))]);
    let expired = issuer.bearer("k", &[("exp", json!(1))]);
    for (bearer, http, code) in [
        (&valid, 200, None),
        (&without_scope, 403, Some(Code::PermissionDenied)),
        (&expired, 401, Some(Code::Unauthenticated)),
        (
            &issuer.bearer("k", &[("aud", json!("x"))]),
            401,
            Some(Code::Unauthenticated),
        ),
    ] {
        let headers = [("authorization", bearer.as_str())];
        assert_eq!(post(&gateway.authority(Http), &headers).await.status, http);
        let found = grpc(&gateway.authority(Grpc), SINGLE, &headers).await;
        assert_eq!(found.err().map(|status| status.code()), code);
        let status = if http == 200 { 101 } else { http };
        let found = handshake(&gateway.authority(WebSocket), "/", &headers).await;
        assert!(found.starts_with(&format!("http/1.1 {status}")), "{found}");
    }
    let rejected = post(&gateway.authority(Http), &[("authorization", &expired)]).await;
    assert_eq!(rejected.json(), json!({"detail": "the token has expired"}));
    let challenge = "Bearer realm=\"flowgate\", error=\"invalid_token\", error_description=\"the token has expired\"";
    assert_eq!(rejected.headers["www-authenticate"], challenge);
    assert_eq!(*issuer.key_requests.borrow(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_flood_of_unknown_key_ids_does_not_reach_the_issuer() {
    let issuer = Issuer::start().await;
    let gateway = ServedGateway::start(&issuer.flow()).await;
    let authority = gateway.authority(Http);
    let flood = (0..100).map(|index| {
        let bearer = issuer.bearer(&format!("kid-{index}"), &[]);
        let authority = authority.clone();
        async move { post(&authority, &[("authorization", &bearer)]).await.status }
    });
    let statuses = futures_util::future::join_all(flood).await;
    assert!(statuses.iter().all(|status| *status == 401));
    assert_eq!(*issuer.key_requests.borrow(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn tokens_are_unavailable_errors_without_the_issuers_keys() {
    let closed = flowgate_tests::flow::ClosedPort::reserve();
    let jwt = format!(
        "jwt: {{issuer: me, audience: a, jwks: 'http://127.0.0.1:{}/'}}",
        closed.port()
    );
    let gateway = ServedGateway::start(&flow(&format!("auth: {{{jwt}}}"))).await;
    let issuer = Issuer::start().await;
    let bearer = issuer.bearer("k", &[]);
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(post(&gateway.authority(Http), &headers).await.status, 503);
    let rejected = grpc(&gateway.authority(Grpc), SINGLE, &headers).await;
    assert_eq!(rejected.expect_err("no keys").code(), Code::Unavailable);
    gateway.stop().await;
}
