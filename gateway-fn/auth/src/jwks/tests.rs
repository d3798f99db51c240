//! Tests the cache against an issuer that counts its requests.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::FutureExt as _;
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

fn key_set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a key set")
}

/// An issuer with one key, by its name. Without a key it is down.
#[derive(Clone, Default)]
struct Issuer {
    key: Arc<Mutex<Option<&'static str>>>,
    requests: Arc<AtomicUsize>,
}

impl Issuer {
    fn with(key: &'static str) -> Self {
        let issuer = Self::default();
        issuer.set_key(Some(key));
        issuer
    }

    fn set_key(&self, key: Option<&'static str>) {
        *self.key.lock().expect("no panic") = key;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn cache(&self) -> JwksCache {
        let issuer = self.clone();
        JwksCache::with_loader(CACHE, STALE, move || {
            issuer.requests.fetch_add(1, Ordering::SeqCst);
            let key = *issuer.key.lock().expect("no panic");
            Box::pin(async move {
                tokio::task::yield_now().await;
                key.map(|key| key_set(&[ed25519(key)]))
                    .ok_or_else(|| JwksError::TimedOut {
                        url: "https://issuer.example/jwks.json".to_owned(),
                    })
            })
        })
    }
}

fn has_key(keys: &KeySet, id: &str) -> bool {
    matches!(keys.find(Some(id), Algorithm::EdDSA), Lookup::Key(_))
}

async fn refresh(cache: &JwksCache) -> Result<Option<Arc<KeySet>>, KeysUnavailable> {
    cache.refresh_for_unknown_key().await
}

async fn serves(cache: &JwksCache, id: &str) -> bool {
    cache.keys().await.is_ok_and(|keys| has_key(&keys, id))
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_cause_one_request() {
    let issuer = Issuer::with("a");
    let cache = issuer.cache();
    let all = (0..50).map(|_| serves(&cache, "a"));
    assert!(
        futures_util::future::join_all(all)
            .await
            .iter()
            .all(|serves| *serves)
    );
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_in_the_background_before_they_expire() {
    let issuer = Issuer::with("a");
    let cache = issuer.cache();
    assert!(serves(&cache, "a").await);
    issuer.set_key(Some("b"));
    advance(CACHE / 2).await;
    assert!(serves(&cache, "a").await);
    assert_eq!(issuer.requests(), 1);
    advance(CACHE / 3).await;
    assert!(
        serves(&cache, "a").await,
        "the old keys are used until then"
    );
    while issuer.requests() < 2 || !serves(&cache, "b").await {
        tokio::task::yield_now().await;
    }
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_host_can_wait_for_a_background_refresh() {
    let issuer = Issuer::with("a");
    let cache = issuer.cache();
    assert!(serves(&cache, "a").await);
    issuer.set_key(Some("b"));
    advance(CACHE / 4 * 3).await;
    assert!(serves(&cache, "a").await);
    cache.wait_for_refresh().await;
    assert!(serves(&cache, "b").await);
}

#[tokio::test(start_paused = true)]
async fn callers_wait_for_the_refresh_of_expired_keys() {
    let issuer = Issuer::with("a");
    let cache = issuer.cache();
    assert!(serves(&cache, "a").await);
    issuer.set_key(Some("b"));
    advance(CACHE).await;
    assert!(!serves(&cache, "a").await);
    assert!(serves(&cache, "b").await);
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_cause_one_request_a_minute() {
    let issuer = Issuer::with("a");
    let cache = issuer.cache();
    assert!(serves(&cache, "a").await);
    issuer.set_key(Some("b"));
    for _ in 0..1000 {
        assert!(refresh(&cache).await.expect("a response").is_none());
    }
    assert_eq!(issuer.requests(), 1);
    advance(UNKNOWN_KEY_INTERVAL).await;
    let newer = refresh(&cache).await.expect("a response");
    assert!(has_key(&newer.expect("a refresh"), "b"));
    assert!(refresh(&cache).await.expect("a response").is_none());
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_an_error_while_the_issuer_is_down() {
    let issuer = Issuer::with("a");
    let cache = issuer.cache();
    assert!(serves(&cache, "a").await);
    issuer.set_key(None);
    advance(UNKNOWN_KEY_INTERVAL).await;
    for _ in 0..100 {
        assert!(refresh(&cache).await.is_err());
        assert!(serves(&cache, "a").await, "the known keys stay in use");
    }
    assert_eq!(issuer.requests(), 2, "not once per caller");
    issuer.set_key(Some("b"));
    advance(RETRY_INTERVAL).await;
    let newer = refresh(&cache).await.expect("a response");
    assert!(has_key(&newer.expect("a refresh"), "b"));
    assert_eq!(issuer.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn expired_keys_stay_in_use_for_a_while_when_the_issuer_is_down() {
    let issuer = Issuer::with("a");
    let cache = issuer.cache();
    assert!(serves(&cache, "a").await);
    issuer.set_key(None);
    advance(CACHE).await;
    for _ in 0..100 {
        assert!(serves(&cache, "a").await);
    }
    assert_eq!(issuer.requests(), 2, "not once per caller");
    advance(STALE).await;
    assert!(cache.keys().await.is_err());
    let requests = issuer.requests();
    assert!(cache.keys().await.is_err());
    assert_eq!(issuer.requests(), requests, "the last request was just now");
    issuer.set_key(Some("b"));
    advance(RETRY_INTERVAL).await;
    assert!(serves(&cache, "b").await);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_disconnects_does_not_cancel_the_request() {
    let issuer = Issuer::with("a");
    let cache = issuer.cache();
    let mut caller = Box::pin(cache.keys());
    assert!(caller.as_mut().now_or_never().is_none(), "it waits");
    drop(caller);
    assert!(serves(&cache, "a").await);
    assert_eq!(issuer.requests(), 1);
}

#[test]
fn a_key_verifies_only_the_algorithms_of_its_type() {
    let rsa = json!({"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"});
    let only = json!({"kty": "RSA", "kid": "o", "n": "AQAB", "e": "AQAB", "alg": "PS256"});
    let p256 = json!({"kty": "EC", "crv": "P-256", "kid": "p", "x": "AQAB", "y": "AQAB"});
    let keys = key_set(&[rsa, only, p256, ed25519("e")]);
    for (id, algorithm, fits) in [
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
        let expected = if fits { "Key" } else { "WrongAlgorithm" };
        assert!(
            format!("{found:?}").starts_with(expected),
            "{id} {algorithm:?}"
        );
    }
    assert!(matches!(
        keys.find(Some("x"), Algorithm::EdDSA),
        Lookup::UnknownKey
    ));
    assert!(matches!(keys.find(None, Algorithm::EdDSA), Lookup::Key(_)));
    assert!(
        matches!(keys.find(None, Algorithm::PS256), Lookup::WrongAlgorithm),
        "two keys fit"
    );
}

#[test]
fn unsupported_keys_are_skipped() {
    let unsupported = [
        json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"}),
        json!({"kty": "EC", "crv": "P-521", "kid": "5", "x": "AQAB", "y": "AQAB"}),
        json!({"kty": "OKP", "crv": "X25519", "kid": "x", "x": "AQAB"}),
        json!({"kty": "RSA", "kid": "enc", "n": "AQAB", "e": "AQAB", "use": "enc"}),
        json!({"kty": "RSA", "kid": "wrap", "n": "AQAB", "e": "AQAB", "key_ops": ["wrapKey"]}),
        json!({"kty": "RSA", "kid": "hs", "n": "AQAB", "e": "AQAB", "alg": "HS256"}),
        json!("nonsense"),
    ];
    let mut keys = unsupported.to_vec();
    keys.push(ed25519("e"));
    let keys = key_set(&keys);
    assert!(has_key(&keys, "e"));
    for id in ["s", "5", "x", "enc", "wrap", "hs"] {
        assert!(
            matches!(keys.find(Some(id), Algorithm::RS256), Lookup::UnknownKey),
            "{id}"
        );
    }
    for invalid in [
        json!({"keys": unsupported}),
        json!({"keys": []}),
        json!([]),
        json!({}),
    ] {
        assert!(
            KeySet::parse(invalid.to_string().as_bytes()).is_none(),
            "{invalid}"
        );
    }
    assert!(KeySet::parse(b"<html>").is_none());
}

/// Starts a server that answers each connection with the next of these responses.
async fn serve(responses: impl IntoIterator<Item = String>) -> http::Uri {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let uri = format!("http://{}/jwks", socket.local_addr().expect("bound"));
    let mut responses: VecDeque<_> = responses.into_iter().collect();
    tokio::spawn(async move {
        while let Some(response) = responses.pop_front() {
            let (mut stream, _) = socket.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    uri.parse().expect("a URL")
}

fn response(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn any_response_but_a_key_set_is_an_error() {
    let keys = json!({"keys": [ed25519("a")]}).to_string();
    let large = " ".repeat(300 << 10);
    let redirect =
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let uri = serve([
        response("200 OK", &keys),
        response("500 Oh", &keys),
        redirect.to_owned(),
        response("200 OK", &large),
    ])
    .await;
    let body = source::fetch(&uri, &TlsRoots::System)
        .await
        .expect("a key set");
    assert_eq!(body, keys.as_bytes());
    for expected in ["Status", "Status", "Request", "Request"] {
        let error = source::fetch(&uri, &TlsRoots::System)
            .await
            .expect_err("no keys");
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    }
}
