//! Tests the HTTP routes with an empty Flow, which returns every request unchanged. The expected answers are Jina
//! 3.13.2's, unless a comment says that they are Flowgate's.

mod cors;

mod failures;

mod pages;

use axum::body::Body;
use flowgate_config::{Config, ExposedEndpoint};
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::{gateway::Registry, outbound::Clients, status::ProcessInfo};

const LIMIT: usize = 1000;

fn services() -> Services {
    let loaded = Config::from_yaml("jtype: Flow\n", "test.yml", &|_| None).expect("a Flow");
    let clients = Clients::new(&loaded.config.gateway.invoke);
    Services::new(
        &loaded.config,
        &Registry::default(),
        &clients,
        ProcessInfo::default(),
    )
    .expect("it can be served")
}

fn config() -> HttpConfig {
    let exposed = |exec_endpoint: &str, http_path: &str, methods: &[&str]| ExposedEndpoint {
        exec_endpoint: exec_endpoint.to_owned(),
        http_path: http_path.to_owned(),
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        summary: None,
        tags: vec!["Customized".to_owned()],
    };
    HttpConfig {
        title: Some("A <b> title".to_owned()),
        description: None,
        cors: false,
        debug_endpoints: true,
        crud_endpoints: true,
        exposed: vec![
            exposed("/foo", "/bar/{any}", &["POST", "GET"]),
            exposed("/other", "/index", &["PUT"]),
        ],
        graphql: false,
    }
}

/// A response: status, headers, body.
struct Reply(StatusCode, HeaderMap, Bytes);

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.1.get(name).map(|value| value.to_str().expect("text"))
    }

    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.2).expect("JSON")
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.2).expect("text")
    }

    fn assert_is(&self, status: u16, body: &Value) {
        assert_eq!((self.0.as_u16(), &self.json()), (status, body));
    }
}

async fn send_to(router: Router, request: http::Request<Body>) -> Reply {
    let (head, body) = router
        .oneshot(request)
        .await
        .expect("infallible")
        .into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Reply(head.status, head.headers, body)
}

async fn send_with(config: &HttpConfig, request: http::Request<Body>) -> Reply {
    let limits = Limits {
        max_message_bytes: LIMIT,
        ..Limits::default()
    };
    send_to(
        router(&services(), config, &limits, Scripts::EMBEDDED),
        request,
    )
    .await
}

async fn send(request: http::Request<Body>) -> Reply {
    send_with(&config(), request).await
}

fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> http::Request<Body> {
    let builder = http::Request::builder().method(method).uri(path);
    let builder = headers.iter().fold(builder, |builder, &(name, value)| {
        builder.header(name, value)
    });
    builder.body(body.into()).expect("a request")
}

fn without_body(method: &str, path: &str) -> http::Request<Body> {
    request(method, path, &[], Body::empty())
}

fn post(path: &str, body: impl Into<Body>) -> http::Request<Body> {
    request("POST", path, &[("content-type", "application/json")], body)
}

fn missing_body() -> Value {
    json!({"detail": [{"loc": ["body"], "msg": "field required", "type": "value_error.missing"}]})
}

fn not_a_dict() -> Value {
    json!({"detail": [{"loc": ["body"], "msg": "value is not a valid dict", "type": "type_error.dict"}]})
}

// http/01-health
#[tokio::test]
async fn health_is_an_empty_object() {
    send(without_body("GET", "/"))
        .await
        .assert_is(200, &json!({}));
}

// http/02-dry_run
#[tokio::test]
async fn a_dry_run_of_an_empty_flow_succeeds() {
    send(without_body("GET", "/dry_run")).await.assert_is(
        200,
        &json!({"code": 0, "description": "", "exception": null}),
    );
}

#[tokio::test]
async fn status_shows_versions_and_environment() {
    let reply = send(without_body("GET", "/status")).await;
    assert_eq!(reply.0, StatusCode::OK);
    assert!(reply.json()["jina"]["jina"].is_string() && reply.json()["envs"].is_object());
}

#[tokio::test]
async fn each_data_route_has_its_exec_endpoint() {
    for (method, path, exec_endpoint) in [
        ("POST", "/post", "/mine"),
        ("POST", "/index", "/index"),
        ("POST", "/search", "/search"),
        ("DELETE", "/delete", "/delete"),
        ("PUT", "/update", "/update"),
        ("POST", "/bar/x", "/foo"),
        ("GET", "/bar/y", "/foo"),
        ("PUT", "/index", "/other"),
        ("POST", "/in%64ex", "/index"),
    ] {
        let body =
            json!({"data": [{"id": "d0"}], "execEndpoint": "/mine", "header": {"requestId": "r"}});
        let reply = send(request(method, path, &[], body.to_string())).await;
        assert_eq!(reply.0, StatusCode::OK, "{method} {path}: {}", reply.text());
        let answer = reply.json();
        assert_eq!(
            answer["header"]["execEndpoint"], exec_endpoint,
            "{method} {path}"
        );
        assert_eq!(
            answer["header"]["requestId"].as_str().map(str::len),
            Some(32)
        );
        assert_eq!(answer["data"][0]["id"], "d0");
        assert_eq!(answer["routes"][0]["executor"], "gateway");
    }
}

// Flowgate's: Jina requires a body for every method.
#[tokio::test]
async fn methods_that_rarely_have_a_body_require_none() {
    for (method, path) in [("DELETE", "/delete"), ("GET", "/bar/x")] {
        let reply = send(without_body(method, path)).await;
        assert_eq!(
            (reply.0, &reply.json()["data"]),
            (StatusCode::OK, &json!([]))
        );
    }
}

// http/22-no_body_422
#[tokio::test]
async fn a_body_is_required() {
    send(without_body("POST", "/post"))
        .await
        .assert_is(422, &missing_body());
    send(post("/post", "null"))
        .await
        .assert_is(422, &missing_body());
    send(request("DELETE", "/delete", &[], "null"))
        .await
        .assert_is(422, &missing_body());
    send(request(
        "POST",
        "/index",
        &[("content-type", "text/plain")],
        "",
    ))
    .await
    .assert_is(422, &missing_body());
}

// http/31-wrong_content_type_422
#[tokio::test]
async fn other_content_types_are_rejected() {
    let body = "{\"data\":[{\"id\":\"a\"}]}";
    send(request(
        "POST",
        "/post",
        &[("content-type", "text/plain")],
        body,
    ))
    .await
    .assert_is(422, &not_a_dict());
    let reply = send(request(
        "POST",
        "/post",
        &[("content-type", "application/x+json")],
        body,
    ))
    .await;
    assert_eq!(reply.0, StatusCode::OK);
}

#[tokio::test]
async fn a_syntax_error_is_reported_with_its_position() {
    let ctx =
        json!({"msg": "Expecting value", "doc": "{\"data\":}", "pos": 8, "lineno": 1, "colno": 9});
    let error = json!({
        "loc": ["body", 8],
        "msg": "Expecting value: line 1 column 9 (char 8)",
        "type": "value_error.jsondecode",
        "ctx": ctx,
    });
    send(post("/post", "{\"data\":}"))
        .await
        .assert_is(422, &json!({"detail": [error]}));
}

// Flowgate's: Jina answers 500.
#[tokio::test]
async fn half_a_surrogate_pair_is_rejected_with_its_position() {
    for body in [
        r#"{"data":[{"text":"\ud800"}]}"#,
        r#"{"parameters":{"\udc00":1}}"#,
    ] {
        let reply = send(post("/post", body)).await;
        assert_eq!(reply.0, StatusCode::UNPROCESSABLE_ENTITY);
        let detail = reply.json()["detail"][0].clone();
        assert_eq!(detail["type"], "value_error.jsondecode");
        let message = detail["msg"].as_str().expect("a text");
        assert!(message.starts_with("Lone surrogate"), "{message}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_rejected() {
    let detail = json!({"detail": "There was an error parsing the body"});
    send(post("/post", &b"{\"a\":\"\xff\"}"[..]))
        .await
        .assert_is(400, &detail);
    assert_eq!(
        send(post("/post", "\u{feff}{}")).await.0,
        StatusCode::OK,
        "a byte order mark"
    );
}

// http/24-data_is_string_422
#[tokio::test]
async fn errors_of_fields_are_listed() {
    let error = |msg, kind| json!({"loc": ["body", "data"], "msg": msg, "type": kind});
    let errors = [
        error("value is not a valid list", "type_error.list"),
        error("value is not a valid dict", "type_error.dict"),
    ];
    send(post("/post", "{\"data\":\"x\"}"))
        .await
        .assert_is(422, &json!({"detail": errors}));
}

// Flowgate's: Jina has no limit.
#[tokio::test]
async fn a_body_above_the_limit_is_rejected_with_the_limit() {
    let detail = json!({"detail": "the body is larger than the limit of 1000 bytes"});
    let long = format!("{{\"x\":\"{}\"}}", "a".repeat(LIMIT));
    send(post("/post", long.clone()))
        .await
        .assert_is(413, &detail);
    let chunks = futures_util::stream::iter(
        long.into_bytes()
            .chunks(100)
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>(),
    );
    let streamed = Body::from_stream(futures_util::StreamExt::map(
        chunks,
        Ok::<_, std::io::Error>,
    ));
    send(post("/post", streamed)).await.assert_is(413, &detail);
    let fits = format!("{{\"x\":\"{}\"}}", "a".repeat(LIMIT - 8));
    assert_eq!(
        (fits.len(), send(post("/post", fits)).await.0),
        (LIMIT, StatusCode::OK)
    );
}

// http/29-not_found_404
#[tokio::test]
async fn other_paths_are_not_found() {
    for path in ["/nope", "/nope/", "//", "/INDEX", "/docs/x", "/bar/x/y"] {
        send(without_body("GET", path))
            .await
            .assert_is(404, &json!({"detail": "Not Found"}));
    }
}

// http/30-method_not_allowed_405
#[tokio::test]
async fn other_methods_get_the_list_of_allowed_ones() {
    for (method, path, allow) in [
        ("GET", "/post", "POST"),
        ("HEAD", "/", "GET"),
        ("POST", "/", "GET"),
        ("OPTIONS", "/delete", "DELETE"),
        ("POST", "/openapi.json", "GET, HEAD"),
        ("DELETE", "/bar/x", "POST, GET"),
        // Jina names the first route's methods only.
        ("GET", "/index", "POST, PUT"),
    ] {
        let reply = send(without_body(method, path)).await;
        assert_eq!(
            (reply.0.as_u16(), reply.header("allow")),
            (405, Some(allow)),
            "{method} {path}"
        );
        if method != Method::HEAD {
            reply.assert_is(405, &json!({"detail": "Method Not Allowed"}));
        }
    }
}

#[tokio::test]
async fn a_trailing_slash_is_redirected() {
    for (path, location) in [
        ("/index/", "http://a.b:1/index"),
        ("/docs//", "http://a.b:1/docs"),
        ("/index/?a=b", "http://a.b:1/index?a=b"),
    ] {
        let reply = send(request("GET", path, &[("host", "a.b:1")], "")).await;
        assert_eq!(
            (reply.0.as_u16(), reply.header("location")),
            (307, Some(location))
        );
        assert!(reply.2.is_empty());
    }
}

#[tokio::test]
async fn routes_can_be_turned_off() {
    let config = HttpConfig {
        debug_endpoints: false,
        crud_endpoints: false,
        exposed: Vec::new(),
        ..config()
    };
    for path in [
        "/dry_run", "/status", "/post", "/index", "/search", "/delete", "/update",
    ] {
        assert_eq!(
            send_with(&config, without_body("GET", path)).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(
        send_with(&config, without_body("GET", "/")).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_websocket_port_serves_its_own_routes() {
    let send = |method, path| {
        send_to(
            websocket_port_router(&services(), Scripts::EMBEDDED),
            without_body(method, path),
        )
    };
    send("GET", "/").await.assert_is(200, &json!({}));
    assert_eq!(
        send("GET", "/openapi.json").await.json()["info"]["title"],
        "FastAPI"
    );
    assert_eq!(send("GET", "/dry_run").await.json()["code"], 0);
    assert!(send("GET", "/status").await.json()["envs"].is_object());
    assert_eq!(send("POST", "/post").await.0, StatusCode::NOT_FOUND);
    assert_eq!(send("HEAD", "/").await.0, StatusCode::METHOD_NOT_ALLOWED);
}
