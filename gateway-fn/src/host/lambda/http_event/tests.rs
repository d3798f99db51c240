//! Paths behind stages and mappings, queries, headers and cookies of the request that an event contains.

use serde_json::{Value, json};

use super::*;

fn request(source: EventSource, event: &Value, base_path: Option<&str>) -> Request<Body> {
    let text = event.to_string();
    let event = HttpEvent::parse(&text).expect("an event");
    event.into_request(source, base_path).expect("a request")
}

/// The path for the routes, and the prefix for redirects.
fn path(source: EventSource, event: &Value, base_path: Option<&str>) -> (String, String) {
    let request = request(source, event, base_path);
    let prefix = request.extensions().get::<PathPrefix>().expect("a prefix");
    (request.uri().path().to_owned(), prefix.0.clone())
}

fn pair(path: &str, prefix: &str) -> (String, String) {
    (path.to_owned(), prefix.to_owned())
}

fn http_api(path: &str, stage: &str, domain: &str) -> Value {
    json!({
        "version": "2.0", "rawPath": path, "routeKey": "$default",
        "requestContext": {"http": {"method": "GET"}, "stage": stage, "domainName": domain},
    })
}

const OWN: &str = "id.execute-api.eu-west-1.amazonaws.com";

#[test]
fn an_http_apis_stage_is_removed() {
    let of = |event: &Value| path(EventSource::HttpApi, event, None);
    assert_eq!(of(&http_api("/post", "$default", OWN)), pair("/post", ""));
    assert_eq!(
        of(&http_api("/prod/post", "prod", OWN)),
        pair("/post", "/prod")
    );
    assert_eq!(of(&http_api("/prod", "prod", OWN)), pair("/", "/prod"));
    assert_eq!(
        of(&http_api("/post", "post", "api.example.com")),
        pair("/post", "")
    );
}

#[test]
fn a_mapping_of_a_custom_domain_is_removed_by_the_route_or_by_the_setting() {
    let mut event = http_api("/v1/post", "prod", "api.example.com");
    assert_eq!(
        path(EventSource::HttpApi, &event, None),
        pair("/v1/post", "")
    );
    assert_eq!(
        path(EventSource::HttpApi, &event, Some("/v1")),
        pair("/post", "/v1")
    );
    event["routeKey"] = "ANY /{proxy+}".into();
    event["pathParameters"] = json!({"proxy": "post"});
    assert_eq!(
        path(EventSource::HttpApi, &event, None),
        pair("/post", "/v1")
    );
}

#[test]
fn a_rest_apis_prefix_comes_from_its_context() {
    let event = |path: &str, full: &str| {
        json!({
            "resource": "/{proxy+}", "path": path, "httpMethod": "GET",
            "pathParameters": {"proxy": "docs/"},
            "requestContext": {"stage": "prod", "path": full, "domainName": OWN},
        })
    };
    let of = |event: &Value| path(EventSource::RestApi, event, None);
    assert_eq!(of(&event("/docs/", "/prod/docs/")), pair("/docs/", "/prod"));
    assert_eq!(
        of(&event("/api/docs/", "/api/docs/")),
        pair("/docs/", "/api")
    );
}

#[test]
fn a_load_balancers_rule_is_removed_by_the_setting() {
    let event = json!({"httpMethod": "GET", "path": "/flow/status", "requestContext": {"elb": {}}});
    assert_eq!(
        path(EventSource::LoadBalancer, &event, Some("/flow")),
        pair("/status", "/flow")
    );
}

#[test]
fn queries_are_written_as_they_were_sent() {
    let query = |source, event: &Value| {
        let request = request(source, event, None);
        request.uri().query().unwrap_or_default().to_owned()
    };
    let mut event = http_api("/", "$default", OWN);
    event["rawQueryString"] = "a=%20b&a=c d".into();
    assert_eq!(query(EventSource::HttpApi, &event), "a=%20b&a=c%20d");
    let mut event = json!({
        "httpMethod": "GET", "path": "/", "requestContext": {},
        "multiValueQueryStringParameters": {"a": ["x&y", "z"]},
    });
    assert_eq!(query(EventSource::RestApi, &event), "a=x%26y&a=z");
    event["multiValueQueryStringParameters"] = json!({"a": ["x%26y"]});
    assert_eq!(query(EventSource::LoadBalancer, &event), "a=x%26y");
}

#[test]
fn the_clients_headers_and_cookies_are_kept() {
    let mut event = http_api("/", "$default", OWN);
    event["headers"] = json!({"a": "1,2", "bad name": "x", "b": null, "x-forwarded-proto": "http"});
    event["cookies"] = json!(["c=1", "d=2"]);
    let read = request(EventSource::HttpApi, &event, None);
    assert_eq!(read.headers()["a"], "1,2");
    assert_eq!(read.headers()["cookie"], "c=1; d=2");
    assert_eq!(read.headers()["host"], OWN);
    assert_eq!(read.extensions().get::<Scheme>(), Some(&Scheme::HTTP));
    let many = json!({
        "httpMethod": "GET", "path": "/", "requestContext": {},
        "headers": {"a": "2"}, "multiValueHeaders": {"a": ["1", "2"]},
    });
    let read = request(EventSource::RestApi, &many, None);
    let values: Vec<_> = read.headers().get_all("a").iter().collect();
    assert_eq!(values, ["1", "2"]);
}

#[test]
fn no_event_panics() {
    for event in [
        json!({"requestContext": {}}),
        json!({"requestContext": {}, "httpMethod": "\u{0}"}),
        json!({"requestContext": {}, "path": "no slash"}),
        json!({"requestContext": {"domainName": "\u{fc} \n"}, "path": "//evil.example/"}),
        json!({"requestContext": {"timeEpoch": u64::MAX}, "body": "?", "isBase64Encoded": true}),
        json!({"requestContext": {}, "rawPath": "/%zz%", "rawQueryString": "\u{7f}#%"}),
    ] {
        let text = event.to_string();
        let event = HttpEvent::parse(&text).expect("an event");
        let _ = event.arrived();
        let _ = event.into_request(EventSource::RestApi, Some("/base"));
    }
    assert!(HttpEvent::parse(r#"{"requestContext":{"stage":5}}"#).is_err());
}
