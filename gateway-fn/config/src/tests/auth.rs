//! The key `auth`: its settings, and that no error quotes a value that may be a secret.

use std::time::Duration;

use super::*;
use crate::{
    ApiKeyConfig, ApiKeySource, AuthConfig, JwksSource, JwtConfig, OpenRoutes, Protocol,
    sha256_digest,
};

const SECRET: &str = "swordfish-swordfish";

fn of_gateway(auth: &str) -> String {
    format!(
        "jtype: Flow\ngateway:\n  auth:\n    {}\n",
        auth.replace('\n', "\n    ")
    )
}

fn auth(keys: &str) -> AuthConfig {
    config(&of_gateway(keys)).gateway.auth
}

#[test]
fn every_setting_is_read() {
    let digest = sha256_digest(b"another-key-of-some-length");
    let hex: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let read = auth(&format!(
        "api_key_header: X-Shop-Key\n\
         api_keys:\n  - {{name: shop, key: {SECRET}}}\n  - {{name: b, sha256: '{hex}'}}\n  - {{name: c, file: /run/keys}}\n\
         jwt:\n  issuer: https://i.example\n  audience: [a, b]\n  jwks: https://i.example/jwks.json\n  \
         leeway: 1000\n  cache: 60000\n  stale: 0\n  scopes: [x, y]\n\
         protocols: [http, grpc]\n\
         open: {{http: [/status, '/docs/*'], grpc: /jina.JinaInfoRPC/_status}}"
    ));
    let key = |name: &str, source| ApiKeyConfig {
        name: name.to_owned(),
        source,
    };
    let expected = AuthConfig {
        api_key_header: "x-shop-key".parse().expect("a header"),
        api_keys: vec![
            key(
                "shop",
                ApiKeySource::Sha256(sha256_digest(SECRET.as_bytes())),
            ),
            key("b", ApiKeySource::Sha256(digest)),
            key("c", ApiKeySource::File("/run/keys".into())),
        ],
        jwt: Some(JwtConfig {
            issuer: "https://i.example".to_owned(),
            audience: vec!["a".to_owned(), "b".to_owned()],
            jwks: JwksSource::Url("https://i.example/jwks.json".parse().expect("a URL")),
            leeway: Duration::from_secs(1),
            cache: Duration::from_secs(60),
            stale: Duration::ZERO,
            scopes: vec!["x".to_owned(), "y".to_owned()],
        }),
        protocols: vec![Protocol::Http, Protocol::Grpc],
        open: OpenRoutes {
            http: vec!["/status".to_owned(), "/docs/*".to_owned()],
            grpc: vec!["/jina.JinaInfoRPC/_status".to_owned()],
            websocket: Vec::new(),
        },
    };
    assert_eq!(read, expected);
    assert!(read.is_enabled());
    assert!(!config("jtype: Flow\n").gateway.auth.is_enabled());
}

#[test]
fn a_key_may_come_from_the_environment() {
    let yaml = of_gateway("api_keys: [{name: shop, key: '${{ ENV.SHOP_KEY }}'}]");
    let env = |name: &str| (name == "SHOP_KEY").then(|| SECRET.to_owned());
    let loaded = Config::from_yaml(&yaml, "flow.yml", &env).expect("a valid Flow");
    let digest = sha256_digest(SECRET.as_bytes());
    assert_eq!(
        loaded.config.gateway.auth.api_keys[0].source,
        ApiKeySource::Sha256(digest)
    );
    let shown = format!("{loaded:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(&format!("{}, {}", digest[0], digest[1])));
    // If the variable is not set, its name must not become the key.
    assert_eq!(errors(&yaml)[0].key, "gateway.auth.api_keys[0].key");
    let short = |_: &str| Some("swordfish".to_owned());
    let Err(errors) = Config::from_yaml(&yaml, "flow.yml", &short) else {
        panic!("a short key is accepted");
    };
    assert!(!errors.to_string().contains("swordfish"), "{errors}");
}

#[test]
fn auth_without_credentials_is_an_error() {
    for auth in [
        "{}",
        "",
        "null",
        "[]",
        "true",
        "protocols: [http]",
        "api_keys: []",
    ] {
        let yaml = of_gateway(auth);
        assert_eq!(errors(&yaml).len(), 1, "{auth}");
    }
    assert_eq!(errors("jtype: Flow\nwith:\n  auth:\n").len(), 1);
}

#[test]
fn an_error_names_its_place_and_never_a_value() {
    let jwt = "jwt: {issuer: https://i, audience: a, jwks: ";
    for (auth, key) in [
        (format!("api_keys: {SECRET}"), "api_keys"),
        (format!("api_keys: [{SECRET}]"), "api_keys[0]"),
        (format!("api_keys: {{shop: {SECRET}}}"), "api_keys"),
        (
            format!("api_keys: [{{name: 'a {SECRET}', key: {SECRET}}}]"),
            "api_keys[0]",
        ),
        (format!("api_keys: [{{key: {SECRET}}}]"), "api_keys[0]"),
        ("api_keys: [{name: a}]".to_owned(), "api_keys[0]"),
        (
            format!("api_keys: [{{name: a, key: {SECRET}, file: /f}}]"),
            "api_keys[0]",
        ),
        (
            "api_keys: [{name: a, key: swordfish}]".to_owned(),
            "api_keys[0].key",
        ),
        (
            format!("api_keys: [{{name: a, key: '{SECRET} x'}}]"),
            "api_keys[0].key",
        ),
        (
            format!("api_keys: [{{name: a, key: '{SECRET}$x'}}]"),
            "api_keys[0].key",
        ),
        (
            format!("api_keys: [{{name: a, key: [{SECRET}]}}]"),
            "api_keys[0].key",
        ),
        (
            "api_keys: [{name: a, key: 12345678901234567}]".to_owned(),
            "api_keys[0].key",
        ),
        (
            format!("api_keys: [{{name: a, sha256: {SECRET}}}]"),
            "api_keys[0].sha256",
        ),
        (
            format!("api_keys: [{{name: a, key: {SECRET}}}, {{name: a, key: {SECRET}}}]"),
            "api_keys[1]",
        ),
        (format!("{jwt}'http://i.example/j'}}"), "jwt.jwks"),
        (
            format!("{jwt}'https://u:{SECRET}@i.example/j'}}"),
            "jwt.jwks",
        ),
        (format!("{jwt}'ftp://i.example/j'}}"), "jwt.jwks"),
        ("jwt: {issuer: https://i, audience: a}".to_owned(), "jwt"),
        ("jwt: {audience: a, jwks: /f}".to_owned(), "jwt"),
        ("jwt: {issuer: i, jwks: /f}".to_owned(), "jwt"),
        ("jwt: {issuer: i, jwks: /f, audience: []}".to_owned(), "jwt"),
        (format!("{jwt}/f, leeway: 700000}}"), "jwt.leeway"),
        (format!("{jwt}/f, cache: 1}}"), "jwt.cache"),
        (format!("{jwt}/f, scopes: 'a b'}}"), "jwt.scopes"),
        (format!("{jwt}/f, secret: {SECRET}}}"), "jwt.secret"),
        (format!("{jwt}/f}}\nprotocols: [htp]"), "protocols"),
        (format!("{jwt}/f}}\nopen: [/]"), "open"),
        (format!("{jwt}/f}}\nopen: {{http: status}}"), "open.http"),
        (format!("{jwt}/f}}\nopen: {{http: '/a*'}}"), "open.http"),
        (
            format!("{jwt}/f}}\napi_key_header: Authorization"),
            "api_key_header",
        ),
        (format!("{jwt}/f}}\nopne: {{}}"), "opne"),
    ] {
        let found = errors(&of_gateway(&auth));
        let [error] = found.as_slice() else {
            panic!("{auth}\n{}", ConfigErrors(found))
        };
        assert_eq!(error.key, format!("gateway.auth.{key}"), "{auth}: {error}");
        assert!(!error.to_string().contains("swordfish"), "{auth}: {error}");
    }
}

#[test]
fn plain_http_is_for_localhost_or_where_it_is_allowed() {
    let jwt = |rest: &str| auth(&format!("jwt: {{issuer: i, audience: a, {rest}}}")).jwt;
    for rest in [
        "jwks: 'http://localhost:8000/j'",
        "jwks: 'http://127.0.0.1/j'",
        "jwks: 'http://[::1]:80/j'",
        "jwks: 'http://i.example/j', allow_http: true",
    ] {
        let jwks = jwt(rest).expect("tokens").jwks;
        assert!(matches!(jwks, JwksSource::Url(_)), "{rest}");
    }
    let jwks = jwt("jwks: keys.json").expect("tokens").jwks;
    assert_eq!(jwks, JwksSource::File("keys.json".into()));
}

#[test]
fn any_audience_is_accepted_only_if_written_out() {
    let jwt = |rest: &str| auth(&format!("jwt: {{issuer: i, jwks: /f, {rest}}}")).jwt;
    let audience = |rest: &str| jwt(rest).expect("tokens").audience;
    assert!(audience("audience: any").is_empty());
    assert_eq!(audience("audience: [any]"), ["any"]);
}
