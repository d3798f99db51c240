//! Tokens of an issuer: over every protocol, and how often its keys are fetched.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use flowgate_config::Protocol::{Grpc, Http, WebSocket};
use flowgate_tests::flow::{ClosedPort, ServedGateway};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tonic::Code;

use super::{SINGLE, flow, grpc, handshake, post};

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
    let closed = ClosedPort::reserve();
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
