//! Paths behind stages and mappings, and what of an event becomes which part of a request.

use serde_json::{Value, json};

use super::*;

fn request(sender: Sender, event: &Value, base_path: Option<&str>) -> Request<Body> {
    let text = event.to_string();
    let event = HttpEvent::read(&text).expect("an event");
    event.request(sender, base_path).expect("a request")
}

/// The path within, and the prefix for redirects.
fn path(sender: Sender, event: &Value, base_path: Option<&str>) -> (String, String) {
    let request = request(sender, event, base_path);
    let prefix = request.extensions().get::<Prefix>().expect("a prefix");
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
fn an_http_apis_stage_is_taken_off() {
    let of = |event: &Value| path(Sender::HttpApi, event, None);
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
fn a_mapping_of_a_custom_domain_is_taken_off_by_the_route_or_by_the_setting() {
    let mut event = http_api("/v1/post", "prod", "api.example.com");
    assert_eq!(path(Sender::HttpApi, &event, None), pair("/v1/post", ""));
    assert_eq!(
        path(Sender::HttpApi, &event, Some("/v1")),
        pair("/post", "/v1")
    );
    event["routeKey"] = "ANY /{proxy+}".into();
    event["pathParameters"] = json!({"proxy": "post"});
    assert_eq!(path(Sender::HttpApi, &event, None), pair("/post", "/v1"));
}

#[test]
fn a_rest_apis_prefix_is_what_its_context_has_more() {
    let event = |path: &str, shown: &str| {
        json!({
            "resource": "/{proxy+}", "path": path, "httpMethod": "GET",
            "pathParameters": {"proxy": "docs/"},
            "requestContext": {"stage": "prod", "path": shown, "domainName": OWN},
        })
    };
    let of = |event: &Value| path(Sender::RestApi, event, None);
    assert_eq!(of(&event("/docs/", "/prod/docs/")), pair("/docs/", "/prod"));
    assert_eq!(
        of(&event("/api/docs/", "/api/docs/")),
        pair("/docs/", "/api")
    );
}

#[test]
fn a_load_balancers_rule_is_the_setting() {
    let event = json!({"httpMethod": "GET", "path": "/flow/status", "requestContext": {"elb": {}}});
    assert_eq!(
        path(Sender::LoadBalancer, &event, Some("/flow")),
        pair("/status", "/flow")
    );
}

#[test]
fn queries_are_written_as_they_were_sent() {
    let query = |sender, event: &Value| {
        let request = request(sender, event, None);
        request.uri().query().unwrap_or_default().to_owned()
    };
    let mut event = http_api("/", "$default", OWN);
    event["rawQueryString"] = "a=%20b&a=c d".into();
    assert_eq!(query(Sender::HttpApi, &event), "a=%20b&a=c%20d");
    let mut event = json!({
        "httpMethod": "GET", "path": "/", "requestContext": {},
        "multiValueQueryStringParameters": {"a": ["x&y", "z"]},
    });
    assert_eq!(query(Sender::RestApi, &event), "a=x%26y&a=z");
    event["multiValueQueryStringParameters"] = json!({"a": ["x%26y"]});
    assert_eq!(query(Sender::LoadBalancer, &event), "a=x%26y");
}

#[test]
fn headers_and_cookies_are_the_clients() {
    let mut event = http_api("/", "$default", OWN);
    event["headers"] = json!({"a": "1,2", "bad name": "x", "b": null, "x-forwarded-proto": "http"});
    event["cookies"] = json!(["c=1", "d=2"]);
    let read = request(Sender::HttpApi, &event, None);
    assert_eq!(read.headers()["a"], "1,2");
    assert_eq!(read.headers()["cookie"], "c=1; d=2");
    assert_eq!(read.headers()["host"], OWN);
    assert_eq!(read.extensions().get::<Scheme>(), Some(&Scheme::HTTP));
    let many = json!({
        "httpMethod": "GET", "path": "/", "requestContext": {},
        "headers": {"a": "2"}, "multiValueHeaders": {"a": ["1", "2"]},
    });
    let read = request(Sender::RestApi, &many, None);
    let values: Vec<_> = read.headers().get_all("a").iter().collect();
    assert_eq!(values, ["1", "2"]);
}

#[test]
fn no_event_breaks_it() {
    for event in [
        json!({"requestContext": {}}),
        json!({"requestContext": {}, "httpMethod": "\u{0}"}),
        json!({"requestContext": {}, "path": "no slash"}),
        json!({"requestContext": {"domainName": "\u{fc} \n"}, "path": "//evil.example/"}),
        json!({"requestContext": {"timeEpoch": u64::MAX}, "body": "?", "isBase64Encoded": true}),
        json!({"requestContext": {}, "rawPath": "/%zz%", "rawQueryString": "\u{7f}#%"}),
    ] {
        let text = event.to_string();
        let event = HttpEvent::read(&text).expect("an event");
        let _ = event.arrived();
        let _ = event.request(Sender::RestApi, Some("/base"));
    }
    assert!(HttpEvent::read(r#"{"requestContext":{"stage":5}}"#).is_err());
}
