//! The cache against a source that counts how often it is asked.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::advance,
};

use super::*;

const CACHE: Duration = Duration::from_secs(600);
const STALE: Duration = Duration::from_secs(3600);

fn ed25519(id: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).expect("a key set")
}

/// A source that is up while it has an answer: the name of its only key.
#[derive(Clone, Default)]
struct Issuer {
    key: Arc<Mutex<Option<&'static str>>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    fn with(key: &'static str) -> Self {
        let issuer = Self::default();
        issuer.turn_to(Some(key));
        issuer
    }

    fn turn_to(&self, key: Option<&'static str>) {
        *self.key.lock().expect("no panic") = key;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn jwks(&self) -> Jwks {
        let issuer = self.clone();
        Jwks::loading(CACHE, STALE, move || {
            issuer.asked.fetch_add(1, Ordering::SeqCst);
            let key = *issuer.key.lock().expect("no panic");
            Box::pin(async move {
                tokio::task::yield_now().await;
                key.map(|key| set(&[ed25519(key)]))
                    .ok_or(JwksError::TimedOut)
            })
        })
    }
}

fn knows(keys: &KeySet, id: &str) -> bool {
    matches!(keys.find(Some(id), Algorithm::EdDSA), Lookup::Key(_))
}

async fn has(jwks: &Jwks, id: &str) -> bool {
    jwks.keys().await.is_ok_and(|keys| knows(&keys, id))
}

#[tokio::test(start_paused = true)]
async fn many_that_come_at_once_ask_once() {
    let issuer = Issuer::with("a");
    let jwks = issuer.jwks();
    let all = (0..50).map(|_| has(&jwks, "a"));
    assert!(
        futures_util::future::join_all(all)
            .await
            .iter()
            .all(|has| *has)
    );
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_are_asked_for_again_in_the_background_before_they_are_too_old() {
    let issuer = Issuer::with("a");
    let jwks = issuer.jwks();
    assert!(has(&jwks, "a").await);
    issuer.turn_to(Some("b"));
    advance(CACHE / 2).await;
    assert!(has(&jwks, "a").await);
    assert_eq!(issuer.asked(), 1);
    advance(CACHE / 3).await;
    assert!(has(&jwks, "a").await, "the old ones serve meanwhile");
    while issuer.asked() < 2 || !has(&jwks, "b").await {
        tokio::task::yield_now().await;
    }
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_about_to_freeze_waits_for_them() {
    let issuer = Issuer::with("a");
    let jwks = issuer.jwks();
    assert!(has(&jwks, "a").await);
    issuer.turn_to(Some("b"));
    advance(CACHE / 4 * 3).await;
    assert!(has(&jwks, "a").await);
    jwks.settled().await;
    assert!(has(&jwks, "b").await);
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_too_old_are_waited_for() {
    let issuer = Issuer::with("a");
    let jwks = issuer.jwks();
    assert!(has(&jwks, "a").await);
    issuer.turn_to(Some("b"));
    advance(CACHE).await;
    assert!(!has(&jwks, "a").await);
    assert!(has(&jwks, "b").await);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_asked_for_once_a_minute() {
    let issuer = Issuer::with("a");
    let jwks = issuer.jwks();
    assert!(has(&jwks, "a").await);
    issuer.turn_to(Some("b"));
    for _ in 0..1000 {
        assert!(jwks.newer().await.expect("it answers").is_none());
    }
    assert_eq!(issuer.asked(), 1);
    advance(BETWEEN_UNKNOWN).await;
    let newer = jwks.newer().await.expect("it answers");
    assert!(knows(&newer.expect("asked again"), "b"));
    assert!(jwks.newer().await.expect("it answers").is_none());
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_issuer_is_down_nobody_knows_an_unknown_key() {
    let issuer = Issuer::with("a");
    let jwks = issuer.jwks();
    assert!(has(&jwks, "a").await);
    issuer.turn_to(None);
    advance(BETWEEN_UNKNOWN).await;
    for _ in 0..100 {
        assert!(jwks.newer().await.is_err());
        assert!(has(&jwks, "a").await, "the known ones serve on");
    }
    assert_eq!(issuer.asked(), 2, "not at every request");
    issuer.turn_to(Some("b"));
    advance(BETWEEN_TRIES).await;
    let newer = jwks.newer().await.expect("it answers");
    assert!(knows(&newer.expect("asked again"), "b"));
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn old_keys_serve_on_for_a_while_when_the_issuer_is_down() {
    let issuer = Issuer::with("a");
    let jwks = issuer.jwks();
    assert!(has(&jwks, "a").await);
    issuer.turn_to(None);
    advance(CACHE).await;
    for _ in 0..100 {
        assert!(has(&jwks, "a").await);
    }
    assert_eq!(issuer.asked(), 2, "not at every request");
    advance(STALE).await;
    assert!(jwks.keys().await.is_err());
    let asked = issuer.asked();
    assert!(jwks.keys().await.is_err());
    assert_eq!(issuer.asked(), asked, "it was asked a moment ago");
    issuer.turn_to(Some("b"));
    advance(BETWEEN_TRIES).await;
    assert!(has(&jwks, "b").await);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_does_not_break_off_the_request() {
    let issuer = Issuer::with("a");
    let jwks = issuer.jwks();
    let mut caller = Box::pin(jwks.keys());
    assert!(futures_util::poll!(caller.as_mut()).is_pending());
    drop(caller);
    assert!(has(&jwks, "a").await);
    assert_eq!(issuer.asked(), 1);
}

#[test]
fn a_key_serves_for_what_its_type_allows_only() {
    let rsa = json!({"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"});
    let only = json!({"kty": "RSA", "kid": "o", "n": "AQAB", "e": "AQAB", "alg": "PS256"});
    let p256 = json!({"kty": "EC", "crv": "P-256", "kid": "p", "x": "AQAB", "y": "AQAB"});
    let keys = set(&[rsa, only, p256, ed25519("e")]);
    for (id, algorithm, serves) in [
        ("r", Algorithm::RS256, true),
        ("r", Algorithm::PS512, true),
        ("r", Algorithm::ES256, false),
        ("r", Algorithm::HS256, false),
        ("o", Algorithm::PS256, true),
        ("o", Algorithm::RS256, false),
        ("p", Algorithm::ES256, true),
        ("p", Algorithm::ES384, false),
        ("e", Algorithm::EdDSA, true),
        ("e", Algorithm::HS256, false),
    ] {
        let found = keys.find(Some(id), algorithm);
        let expected = if serves { "Key" } else { "Unfit" };
        assert!(
            format!("{found:?}").starts_with(expected),
            "{id} {algorithm:?}"
        );
    }
    assert!(matches!(
        keys.find(Some("x"), Algorithm::EdDSA),
        Lookup::Unknown
    ));
    assert!(matches!(keys.find(None, Algorithm::EdDSA), Lookup::Key(_)));
    assert!(
        matches!(keys.find(None, Algorithm::PS256), Lookup::Unfit),
        "two would do"
    );
}

#[test]
fn what_does_not_serve_is_left_out() {
    let unfit = [
        json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"}),
        json!({"kty": "EC", "crv": "P-521", "kid": "5", "x": "AQAB", "y": "AQAB"}),
        json!({"kty": "OKP", "crv": "X25519", "kid": "x", "x": "AQAB"}),
        json!({"kty": "RSA", "kid": "enc", "n": "AQAB", "e": "AQAB", "use": "enc"}),
        json!({"kty": "RSA", "kid": "wrap", "n": "AQAB", "e": "AQAB", "key_ops": ["wrapKey"]}),
        json!({"kty": "RSA", "kid": "hs", "n": "AQAB", "e": "AQAB", "alg": "HS256"}),
        json!("nonsense"),
    ];
    let mut keys = unfit.to_vec();
    keys.push(ed25519("e"));
    let keys = set(&keys);
    assert!(knows(&keys, "e"));
    for id in ["s", "5", "x", "enc", "wrap", "hs"] {
        assert!(
            matches!(keys.find(Some(id), Algorithm::RS256), Lookup::Unknown),
            "{id}"
        );
    }
    for none in [
        json!({"keys": unfit}),
        json!({"keys": []}),
        json!([]),
        json!({}),
    ] {
        assert!(KeySet::read(none.to_string().as_bytes()).is_err(), "{none}");
    }
    assert!(KeySet::read(b"<html>").is_err());
}

/// A server that answers each connection with the next of these.
async fn serve(answers: impl IntoIterator<Item = String>) -> http::Uri {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let uri = format!("http://{}/jwks", socket.local_addr().expect("bound"));
    let mut answers: VecDeque<_> = answers.into_iter().collect();
    tokio::spawn(async move {
        while let Some(answer) = answers.pop_front() {
            let (mut stream, _) = socket.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    uri.parse().expect("a URL")
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn a_url_is_asked_and_anything_but_its_keys_is_an_error() {
    let keys = json!({"keys": [ed25519("a")]}).to_string();
    let large = " ".repeat(300 << 10);
    let redirect =
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let uri = serve([
        answer("200 OK", &keys),
        answer("500 Oh", &keys),
        redirect.to_owned(),
        answer("200 OK", &large),
    ])
    .await;
    let body = source::url(&uri).await.expect("keys");
    assert_eq!(body, keys.as_bytes());
    for expected in ["Status", "Status", "Request", "Request"] {
        let error = source::url(&uri).await.expect_err("no keys");
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    }
}
