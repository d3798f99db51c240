//! Tokens signed with ring, and headers as callers send them, at doors of every kind.

use ::ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RSA_PSS_SHA384, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use flowgate_config::{
    ApiKeyConfig, ApiKeySource, JwksSource, JwtConfig, OpenRoutes, sha256_digest,
};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "https://issuer.example";

const KEY: &str = "a-key-of-some-length";

/// An issuer's three keys, and the file of their public halves.
struct Issuer {
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
    random: SystemRandom,
    file: std::path::PathBuf,
}

impl Issuer {
    fn new(name: &str) -> Self {
        let random = SystemRandom::new();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).expect("random");
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let ec = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("random");
        let name = format!("flowgate-jwks-{name}-{}", std::process::id());
        let issuer = Self {
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).expect("a key"),
            ec: EcdsaKeyPair::from_pkcs8(kind, ec.as_ref(), &random).expect("a key"),
            // ring makes no RSA keys: this one is for these tests, known to everybody, and must guard nothing.
            rsa: RsaKeyPair::from_pkcs8(include_bytes!("tests/insecure-test-key.rsa.pk8"))
                .expect("a key"),
            random,
            file: std::env::temp_dir().join(name),
        };
        std::fs::write(&issuer.file, issuer.jwks().to_string()).expect("written");
        issuer
    }

    fn jwks(&self) -> Value {
        let (x, y) = self.ec.public_key().as_ref()[1..].split_at(32);
        let rsa: RsaPublicKeyComponents<Vec<u8>> = self.rsa.public().into();
        json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": B64.encode(self.ed.public_key())},
            {"kty": "EC", "crv": "P-256", "kid": "ec", "x": B64.encode(x), "y": B64.encode(y)},
            {"kty": "RSA", "kid": "rsa", "n": B64.encode(rsa.n), "e": B64.encode(rsa.e)},
        ]})
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let rsa = |encoding| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            let signed = self
                .rsa
                .sign(encoding, &self.random, message, &mut signature);
            signed.expect("signed");
            signature
        };
        match algorithm {
            "EdDSA" => self.ed.sign(message).as_ref().to_vec(),
            "ES256" => {
                let signature = self.ec.sign(&self.random, message).expect("signed");
                signature.as_ref().to_vec()
            }
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS384" => rsa(&RSA_PSS_SHA384),
            // What an attacker has: the public key, taken for a secret.
            "HS256" => {
                let public = std::fs::read(&self.file).expect("written");
                let key = ::ring::hmac::Key::new(::ring::hmac::HMAC_SHA256, &public);
                ::ring::hmac::sign(&key, message).as_ref().to_vec()
            }
            _ => Vec::new(),
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| B64.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let algorithm = header["alg"].as_str().unwrap_or_default();
        let signature = self.sign(algorithm, message.as_bytes());
        format!("{message}.{}", B64.encode(signature))
    }

    fn good(&self) -> String {
        self.token(&json!({"alg": "EdDSA", "kid": "ed"}), &claims())
    }

    fn config(&self) -> AuthConfig {
        AuthConfig {
            jwt: Some(JwtConfig {
                issuer: ISSUER.to_owned(),
                audience: vec!["flowgate".to_owned(), "other".to_owned()],
                jwks: JwksSource::File(self.file.clone()),
                leeway: std::time::Duration::from_secs(60),
                cache: std::time::Duration::from_secs(600),
                stale: std::time::Duration::from_secs(600),
                scopes: vec!["call".to_owned()],
            }),
            ..AuthConfig::default()
        }
    }

    fn auth(&self) -> Auth {
        Auth::new(&self.config()).expect("the file serves")
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        // What is left behind in the folder for temporary files does no harm.
        let _ = std::fs::remove_file(&self.file);
    }
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "flowgate", "sub": "alice", "exp": now() + 600, "scope": "read call"})
}

/// The good claims but for one; `null` leaves it out.
fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    if let Value::Object(map) = &mut claims {
        map.retain(|_, value| !value.is_null());
    }
    claims
}

async fn with(auth: &Auth, pairs: &[(&'static str, &str)]) -> Result<Caller, Refusal> {
    let pairs = pairs.iter().map(|(name, value)| {
        let value = HeaderValue::try_from(*value).expect("a header");
        (HeaderName::from_static(name), value)
    });
    let headers: HeaderMap = pairs.collect();
    auth.check(&headers, Protocol::Http, "/post").await
}

async fn bearer(auth: &Auth, token: &str) -> Result<Caller, Refusal> {
    with(auth, &[("authorization", &format!("Bearer {token}"))]).await
}

fn keys() -> AuthConfig {
    let source = ApiKeySource::Sha256(sha256_digest(KEY.as_bytes()));
    AuthConfig {
        api_keys: vec![ApiKeyConfig {
            name: "shop".to_owned(),
            source,
        }],
        ..AuthConfig::default()
    }
}

#[tokio::test]
async fn a_token_of_every_kind_of_key_opens() {
    let issuer = Issuer::new("kinds");
    let auth = issuer.auth();
    for (algorithm, kid) in [
        ("EdDSA", "ed"),
        ("ES256", "ec"),
        ("RS256", "rsa"),
        ("PS384", "rsa"),
    ] {
        let token = issuer.token(&json!({"alg": algorithm, "kid": kid}), &claims());
        let caller = bearer(&auth, &token).await;
        assert_eq!(
            caller.map(|caller| caller.to_string()),
            Ok("token alice".to_owned()),
            "{algorithm}"
        );
        // One letter of the claims.
        let forged = token.replacen(".eyJ", ".eyI", 1);
        assert_ne!(forged, token);
        assert!(bearer(&auth, &forged).await.is_err(), "{algorithm}");
    }
}

#[tokio::test]
async fn what_a_token_says_of_its_own_signature_is_not_believed() {
    let issuer = Issuer::new("confusion");
    let auth = issuer.auth();
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "None", "kid": "ed"}),
        json!({"alg": "HS256", "kid": "rsa"}),
        json!({"alg": "HS256"}),
        json!({"alg": "RS256", "kid": "ed"}),
        json!({"alg": "ES256", "kid": "rsa"}),
        json!({"alg": "EdDSA", "kid": "nobody"}),
        json!({"alg": "EdDSA", "kid": "ed", "crit": ["exp"]}),
        json!({"alg": "EdDSA", "kid": 1}),
        json!({"kid": "ed"}),
    ] {
        let refused = bearer(&auth, &issuer.token(&header, &claims())).await;
        assert!(
            matches!(refused, Err(Refusal::Invalid { .. })),
            "{header}: {refused:?}"
        );
    }
    let other = Issuer::new("confusion-other");
    assert!(
        bearer(&auth, &other.good()).await.is_err(),
        "the same kid, another key"
    );
    for text in ["a.b.c", "..", "a.b", "x", &format!("{}.", issuer.good())] {
        assert!(bearer(&auth, text).await.is_err(), "{text}");
    }
    let unsigned = issuer.good();
    let (unsigned, _) = unsigned.rsplit_once('.').expect("three parts");
    assert!(bearer(&auth, &format!("{unsigned}.")).await.is_err());
}

#[tokio::test]
async fn claims_that_do_not_hold_do_not_open() {
    let issuer = Issuer::new("claims");
    let auth = issuer.auth();
    let header = json!({"alg": "EdDSA", "kid": "ed"});
    for (name, value) in [
        ("exp", json!(now() - 120)),
        ("exp", json!(null)),
        ("exp", json!("later")),
        ("nbf", json!(now() + 120)),
        ("nbf", json!("now")),
        ("iat", json!(now() + 120)),
        ("iat", json!("now")),
        ("iss", json!("https://issuer.example/")),
        ("iss", json!([ISSUER])),
        ("iss", json!(null)),
        ("aud", json!("flow")),
        ("aud", json!(["x", "y"])),
        ("aud", json!([])),
        ("aud", json!(null)),
        ("aud", json!(7)),
    ] {
        let token = issuer.token(&header, &claims_with(name, value.clone()));
        let refused = bearer(&auth, &token).await;
        assert!(
            matches!(refused, Err(Refusal::Invalid { .. })),
            "{name} {value}: {refused:?}"
        );
    }
    for (name, value) in [
        ("exp", json!(now() - 30)),
        ("nbf", json!(now() + 30)),
        ("iat", json!(now() + 30)),
        ("aud", json!(["x", "flowgate"])),
        ("sub", json!(null)),
        ("scope", json!(["call"])),
    ] {
        let token = issuer.token(&header, &claims_with(name, value.clone()));
        assert!(bearer(&auth, &token).await.is_ok(), "{name} {value}");
    }
}

#[tokio::test]
async fn a_good_token_without_the_scope_is_forbidden() {
    let issuer = Issuer::new("scopes");
    let auth = issuer.auth();
    for scope in [
        json!(null),
        json!("read"),
        json!("caller recall"),
        json!({"call": 1}),
    ] {
        let claims = claims_with("scope", scope.clone());
        let token = issuer.token(&json!({"alg": "EdDSA", "kid": "ed"}), &claims);
        let refusal = bearer(&auth, &token).await.expect_err("forbidden");
        assert_eq!(refusal.http_status(), StatusCode::FORBIDDEN, "{scope}");
        assert_eq!(refusal.grpc_status().code(), tonic::Code::PermissionDenied);
        let challenge = refusal.challenge().expect("one");
        let challenge = challenge.to_str().expect("ASCII");
        assert!(challenge.contains("insufficient_scope") && challenge.contains("scope=\"call\""));
    }
}

#[tokio::test]
async fn either_way_in_suffices_where_both_are_set() {
    let issuer = Issuer::new("either");
    let config = AuthConfig {
        jwt: issuer.config().jwt,
        ..keys()
    };
    let auth = Auth::new(&config).expect("they serve");
    let good = format!("Bearer {}", issuer.good());
    let key = Ok("key shop".to_owned());
    let token = Ok("token alice".to_owned());
    let as_bearer = format!("Bearer {KEY}");
    for (pairs, caller) in [
        (vec![("x-api-key", KEY)], &key),
        (vec![("authorization", as_bearer.as_str())], &key),
        (vec![("authorization", good.as_str())], &token),
        (
            vec![("authorization", "Bearer x.y.z"), ("x-api-key", KEY)],
            &key,
        ),
        (
            vec![("authorization", good.as_str()), ("x-api-key", "wrong")],
            &token,
        ),
    ] {
        let found = with(&auth, &pairs).await.map(|caller| caller.to_string());
        assert_eq!(found, *caller, "{pairs:?}");
    }
}

#[tokio::test]
async fn a_refusal_says_what_is_missing_and_nothing_of_a_key() {
    let auth = Auth::new(&keys()).expect("they serve");
    let missing = with(&auth, &[]).await.expect_err("nothing presented");
    assert!(missing.to_string().contains("`x-api-key`"), "{missing}");
    assert_eq!(
        missing.challenge().expect("one"),
        "Bearer realm=\"flowgate\""
    );
    let near = &KEY[..KEY.len() - 1];
    let refusals = [
        with(&auth, &[("x-api-key", near)]).await,
        with(&auth, &[("x-api-key", "zzz")]).await,
        bearer(&auth, "zzz").await,
    ];
    for refusal in refusals {
        let refusal = refusal.expect_err("a wrong key");
        assert_eq!(refusal.to_string(), "the API key is not known");
        assert_eq!(refusal.http_status(), StatusCode::UNAUTHORIZED);
        assert_eq!(refusal.grpc_status().code(), tonic::Code::Unauthenticated);
    }
    assert!(
        !format!("{:?} {auth:?}", keys())
            .contains(&format!("{:?}", &sha256_digest(KEY.as_bytes())[..4]))
    );
}

#[tokio::test]
async fn what_is_demanded_depends_on_protocol_and_path() {
    let config = AuthConfig {
        protocols: vec![Protocol::WebSocket],
        open: OpenRoutes {
            http: vec!["/status".to_owned()],
            ..OpenRoutes::default()
        },
        ..keys()
    };
    let auth = Auth::new(&config).expect("they serve");
    let none = HeaderMap::new();
    assert!(
        auth.check(&none, Protocol::Grpc, "/jina.JinaRPC/Call")
            .await
            .is_ok()
    );
    assert!(auth.check(&none, Protocol::Http, "/post").await.is_ok());
    assert!(auth.check(&none, Protocol::WebSocket, "/").await.is_err());
    // HTTP on the WebSocket's port is guarded with it.
    let both = [Protocol::Http, Protocol::WebSocket];
    assert!(auth.check_any(&none, &both, "/dry_run").await.is_err());
    assert!(auth.check_any(&none, &both, "/status").await.is_ok());
    assert!(!Auth::new(&AuthConfig::default()).expect("off").is_on());
}
