//! Authenticates requests with API keys and with tokens that the tests sign with ring.

mod policy;

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

/// An issuer with three signing keys, and a file with their public keys.
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
            // ring cannot generate RSA keys. This one is public, and for these tests only.
            rsa: RsaKeyPair::from_pkcs8(include_bytes!("tests/insecure-test-key.rsa.pk8"))
                .expect("a key"),
            random,
            file: std::env::temp_dir().join(name),
        };
        std::fs::write(&issuer.file, issuer.jwks().to_string()).expect("a written file");
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
            signed.expect("a signature");
            signature
        };
        match algorithm {
            "EdDSA" => self.ed.sign(message).as_ref().to_vec(),
            "ES256" => {
                let signature = self.ec.sign(&self.random, message).expect("a signature");
                signature.as_ref().to_vec()
            }
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS384" => rsa(&RSA_PSS_SHA384),
            // The attack of RFC 8725, section 2.1: the public key is used as an HMAC secret.
            "HS256" => {
                let public = std::fs::read(&self.file).expect("a written file");
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

    fn valid_token(&self) -> String {
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
        Auth::new(&self.config(), &TlsRoots::System).expect("a valid file")
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        // A file that stays behind in the temporary directory does no harm.
        let _ = std::fs::remove_file(&self.file);
    }
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "flowgate", "sub": "alice", "exp": now() + 600, "scope": "read call"})
}

/// Returns valid claims with one replaced, or left out if the value is `null`.
fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    if let Value::Object(map) = &mut claims {
        map.retain(|_, value| !value.is_null());
    }
    claims
}

async fn authenticate(auth: &Auth, headers: &[(&'static str, &str)]) -> Result<Caller, AuthError> {
    let headers = headers.iter().map(|(name, value)| {
        let value = HeaderValue::try_from(*value).expect("a header");
        (HeaderName::from_static(name), value)
    });
    let headers: HeaderMap = headers.collect();
    auth.authenticate(&headers, &[Protocol::Http], "/post")
        .await
}

async fn authenticate_bearer(auth: &Auth, token: &str) -> Result<Caller, AuthError> {
    authenticate(auth, &[("authorization", &format!("Bearer {token}"))]).await
}

fn key_config() -> AuthConfig {
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
async fn a_token_of_every_kind_of_key_is_accepted() {
    let issuer = Issuer::new("kinds");
    let auth = issuer.auth();
    for (algorithm, kid) in [
        ("EdDSA", "ed"),
        ("ES256", "ec"),
        ("RS256", "rsa"),
        ("PS384", "rsa"),
    ] {
        let token = issuer.token(&json!({"alg": algorithm, "kid": kid}), &claims());
        let caller = authenticate_bearer(&auth, &token).await;
        assert_eq!(
            caller.map(|caller| caller.to_string()),
            Ok("token alice".to_owned()),
            "{algorithm}"
        );
        // Changes one letter of the claims.
        let forged = token.replacen(".eyJ", ".eyI", 1);
        assert_ne!(forged, token);
        assert!(
            authenticate_bearer(&auth, &forged).await.is_err(),
            "{algorithm}"
        );
    }
}

#[tokio::test]
async fn a_token_cannot_choose_its_algorithm_or_key() {
    let issuer = Issuer::new("confusion");
    let auth = issuer.auth();
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "None", "kid": "ed"}),
        json!({"alg": "HS256", "kid": "rsa"}),
        json!({"alg": "HS256"}),
        json!({"alg": "RS256", "kid": "ed"}),
        json!({"alg": "ES256", "kid": "rsa"}),
        json!({"alg": "EdDSA", "kid": "unknown"}),
        json!({"alg": "EdDSA", "kid": "ed", "crit": ["exp"]}),
        json!({"alg": "EdDSA", "kid": 1}),
        json!({"kid": "ed"}),
    ] {
        let result = authenticate_bearer(&auth, &issuer.token(&header, &claims())).await;
        assert!(
            matches!(result, Err(AuthError::InvalidCredentials { .. })),
            "{header}: {result:?}"
        );
    }
    let other = Issuer::new("confusion-other");
    assert!(
        authenticate_bearer(&auth, &other.valid_token())
            .await
            .is_err(),
        "the same kid, another key"
    );
    for text in [
        "a.b.c",
        "..",
        "a.b",
        "x",
        &format!("{}.", issuer.valid_token()),
    ] {
        assert!(authenticate_bearer(&auth, text).await.is_err(), "{text}");
    }
    let unsigned = issuer.valid_token();
    let (unsigned, _) = unsigned.rsplit_once('.').expect("three parts");
    assert!(
        authenticate_bearer(&auth, &format!("{unsigned}."))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_token_with_invalid_claims_is_rejected() {
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
        let result = authenticate_bearer(&auth, &token).await;
        assert!(
            matches!(result, Err(AuthError::InvalidCredentials { .. })),
            "{name} {value}: {result:?}"
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
        assert!(
            authenticate_bearer(&auth, &token).await.is_ok(),
            "{name} {value}"
        );
    }
}

#[tokio::test]
async fn the_error_says_why_a_token_is_rejected() {
    let issuer = Issuer::new("reasons");
    let auth = issuer.auth();
    let header = json!({"alg": "EdDSA", "kid": "ed"});
    for (header, claims, reason) in [
        (
            json!({"alg": "none"}),
            claims(),
            "the token's header has an unsupported algorithm (`alg`) or an invalid field",
        ),
        (
            json!({"alg": "EdDSA", "kid": "ed", "crit": ["exp"]}),
            claims(),
            "the token requires an extension (`crit`) that is not supported",
        ),
        (
            json!({"alg": "EdDSA", "kid": "unknown"}),
            claims(),
            "the token's key (`kid`) is not among the known keys of the issuer",
        ),
        (
            header.clone(),
            claims_with("exp", json!("later")),
            "the token's claim `exp` is missing or is not a valid time",
        ),
        (
            header.clone(),
            claims_with("iss", json!([ISSUER])),
            "the token's claim `iss` is not the issuer as one string",
        ),
        (
            header,
            claims_with("iat", json!(now() + 120)),
            "the token was issued in the future (`iat`)",
        ),
    ] {
        let token = issuer.token(&header, &claims);
        let error = authenticate_bearer(&auth, &token)
            .await
            .expect_err("rejected");
        assert_eq!(error.to_string(), reason, "{header} {claims}");
    }
}

#[tokio::test]
async fn a_valid_token_without_the_scope_is_forbidden() {
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
        let error = authenticate_bearer(&auth, &token)
            .await
            .expect_err("forbidden");
        assert_eq!(error.http_status(), StatusCode::FORBIDDEN, "{scope}");
        assert_eq!(error.grpc_status().code(), tonic::Code::PermissionDenied);
        let challenge = error.challenge().expect("a challenge");
        let challenge = challenge.to_str().expect("ASCII");
        assert!(challenge.contains("insufficient_scope") && challenge.contains("scope=\"call\""));
        assert_eq!(error.to_string(), "the token lacks required scopes: call");
    }
}

#[tokio::test]
async fn a_key_where_only_tokens_are_accepted_is_rejected_with_a_hint() {
    let issuer = Issuer::new("no-keys");
    let result = authenticate(&issuer.auth(), &[("x-api-key", KEY)]).await;
    let error = result.expect_err("no keys are configured");
    assert_eq!(error.http_status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        error.to_string(),
        "API keys are not accepted here: send a token in `authorization: Bearer`"
    );
    assert!(error.challenge().is_some());
}

#[tokio::test]
async fn a_key_or_a_token_is_enough_where_both_are_configured() {
    let issuer = Issuer::new("either");
    let config = AuthConfig {
        jwt: issuer.config().jwt,
        ..key_config()
    };
    let auth = Auth::new(&config, &TlsRoots::System).expect("a valid configuration");
    let valid_token = format!("Bearer {}", issuer.valid_token());
    let by_key = Ok("key shop".to_owned());
    let by_token = Ok("token alice".to_owned());
    let key_as_bearer = format!("Bearer {KEY}");
    for (headers, caller) in [
        (vec![("x-api-key", KEY)], &by_key),
        (vec![("authorization", key_as_bearer.as_str())], &by_key),
        (vec![("authorization", valid_token.as_str())], &by_token),
        (
            vec![("authorization", "Bearer x.y.z"), ("x-api-key", KEY)],
            &by_key,
        ),
        (
            vec![
                ("authorization", valid_token.as_str()),
                ("x-api-key", "wrong"),
            ],
            &by_token,
        ),
    ] {
        let result = authenticate(&auth, &headers).await;
        let result = result.map(|caller| caller.to_string());
        assert_eq!(result, *caller, "{headers:?}");
    }
}

#[tokio::test]
async fn an_error_names_what_is_missing_and_nothing_of_a_key() {
    let auth = Auth::new(&key_config(), &TlsRoots::System).expect("a valid configuration");
    let missing = authenticate(&auth, &[]).await.expect_err("no credentials");
    assert!(missing.to_string().contains("`x-api-key`"), "{missing}");
    assert_eq!(
        missing.challenge().expect("a challenge"),
        "Bearer realm=\"flowgate\""
    );
    let almost = &KEY[..KEY.len() - 1];
    let results = [
        authenticate(&auth, &[("x-api-key", almost)]).await,
        authenticate(&auth, &[("x-api-key", "zzz")]).await,
        authenticate_bearer(&auth, "zzz").await,
    ];
    for result in results {
        let error = result.expect_err("a wrong key");
        assert_eq!(error.to_string(), "unknown API key");
        assert_eq!(error.http_status(), StatusCode::UNAUTHORIZED);
        assert_eq!(error.grpc_status().code(), tonic::Code::Unauthenticated);
    }
    assert!(
        !format!("{:?} {auth:?}", key_config())
            .contains(&format!("{:?}", &sha256_digest(KEY.as_bytes())[..4]))
    );
}
