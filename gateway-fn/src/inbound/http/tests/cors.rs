//! Tests the Gateway option `cors`.

use super::*;

const ORIGIN: (&str, &str) = ("origin", "http://a.b");

async fn send(request: http::Request<Body>) -> Reply {
    send_with(
        &HttpConfig {
            cors: true,
            ..config()
        },
        request,
    )
    .await
}

#[tokio::test]
async fn a_request_without_origin_gets_no_cors_headers() {
    let reply = send(request(
        "OPTIONS",
        "/delete",
        &[("access-control-request-method", "GET")],
        "",
    ))
    .await;
    assert_eq!(
        (
            reply.0.as_u16(),
            reply.header("access-control-allow-origin")
        ),
        (405, None)
    );
}

#[tokio::test]
async fn every_answer_to_an_origin_allows_any_origin() {
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/nope"),
        ("POST", "/post"),
        ("OPTIONS", "/delete"),
    ] {
        let reply = send(request(method, path, &[ORIGIN], "")).await;
        assert_eq!(
            reply.header("access-control-allow-origin"),
            Some("*"),
            "{method} {path}"
        );
        assert_eq!(
            reply.header("access-control-allow-credentials"),
            Some("true")
        );
        assert_eq!(reply.header("vary"), None);
    }
}

#[tokio::test]
async fn a_request_with_a_cookie_has_its_own_origin_allowed() {
    let reply = send(request("GET", "/", &[ORIGIN, ("cookie", "a=b")], "")).await;
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("http://a.b")
    );
    assert_eq!(
        reply.header("access-control-allow-credentials"),
        Some("true")
    );
    assert_eq!(reply.header("vary"), Some("Origin"));
}

#[tokio::test]
async fn a_preflight_allows_the_requested_headers() {
    let headers = [
        ORIGIN,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "X-Foo, content-type"),
    ];
    for path in ["/index", "/nope"] {
        let reply = send(request("OPTIONS", path, &headers, "")).await;
        assert_eq!((reply.0.as_u16(), reply.text()), (200, "OK"));
        for (name, value) in [
            ("content-type", "text/plain; charset=utf-8"),
            ("vary", "Origin"),
            (
                "access-control-allow-methods",
                "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
            ),
            ("access-control-max-age", "600"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-origin", "http://a.b"),
            ("access-control-allow-headers", "X-Foo, content-type"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{name}");
        }
    }
}

#[tokio::test]
async fn a_preflight_for_an_unknown_method_is_rejected() {
    let headers = [ORIGIN, ("access-control-request-method", "LINK")];
    let reply = send(request("OPTIONS", "/index", &headers, "")).await;
    assert_eq!(
        (reply.0.as_u16(), reply.text()),
        (400, "Disallowed CORS method")
    );
    assert_eq!(reply.header("access-control-allow-headers"), None);
}
