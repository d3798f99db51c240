//! Queries, headers, cookies and contexts of the request that an event contains. `path` has its tests beside it.

use http::header;
use lambda_http::{RequestExt as _, request::RequestContext};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const OWN: &str = "id.execute-api.eu-west-1.amazonaws.com";

fn try_request(event: &Value) -> Result<Request<Body>, HttpEventError> {
    let text = event.to_string();
    let event = Event::parse(&text).expect("an event");
    assert!(event.source.is_http(), "{text}");
    let mut lambda = Context::default();
    lambda.request_id = "r-1".to_owned();
    read_request(event, Some("/base"), &lambda).request
}

fn request(event: &Value) -> Request<Body> {
    try_request(event).expect("a request")
}

fn http_api(path: &str) -> Value {
    json!({
        "version": "2.0", "rawPath": path, "routeKey": "$default",
        "requestContext": {"http": {"method": "GET"}, "stage": "$default", "domainName": OWN},
    })
}

fn rest_api() -> Value {
    json!({"httpMethod": "GET", "path": "/", "requestContext": {"stage": "prod"}})
}

fn load_balancer() -> Value {
    json!({"httpMethod": "GET", "path": "/", "requestContext": {"elb": {"targetGroupArn": "arn"}}})
}

fn lattice() -> Value {
    json!({
        "version": "2.0", "path": "/", "method": "GET",
        "requestContext": {
            "serviceNetworkArn": "n", "serviceArn": "s", "targetGroupArn": "t", "region": "r", "timeEpoch": "1",
        },
    })
}

fn lattice_v1() -> Value {
    json!({"raw_path": "/", "method": "GET"})
}

#[test]
fn queries_are_written_as_they_were_sent() {
    let query = |event: &Value| request(event).uri().query().unwrap_or_default().to_owned();
    let mut event = http_api("/");
    event["rawQueryString"] = "a=%20b&a=c d".into();
    assert_eq!(query(&event), "a=%20b&a=c%20d");
    let mut event = rest_api();
    event["multiValueQueryStringParameters"] = json!({"a": ["x&y", "z", null]});
    assert_eq!(query(&event), "a=x%26y&a=z");
    for mut event in [load_balancer(), lattice(), lattice_v1()] {
        let is_v1 = event.get("raw_path").is_some();
        let key = if is_v1 {
            "query_string_parameters"
        } else {
            "queryStringParameters"
        };
        event[key] = json!({"a": "x%26y"});
        assert_eq!(query(&event), "a=x%26y", "{event}");
    }
    let mut event = lattice();
    event["queryStringParameters"] = json!({"a": ["1", "2"], "b": [""]});
    assert_eq!(query(&event), "a=1&a=2&b=");
}

#[test]
fn parameters_and_headers_in_both_forms_are_merged() {
    for mut event in [rest_api(), load_balancer()] {
        event["multiValueHeaders"] = json!({"A": ["1", "2"]});
        event["headers"] = json!({"a": "2", "b": "3"});
        event["multiValueQueryStringParameters"] = json!({});
        event["queryStringParameters"] = json!({"q": "4"});
        let read = request(&event);
        let values: Vec<_> = read.headers().get_all("a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(read.headers()["b"], "3");
        assert_eq!(read.uri().query(), Some("q=4"));
        for empty in [json!({}), Value::Null] {
            event["multiValueHeaders"] = empty;
            assert_eq!(request(&event).headers()["a"], "2");
        }
    }
}

#[test]
fn a_load_balancer_shows_by_its_headers_which_it_wants() {
    for (multi, single, expected) in [
        (json!({"a": ["1"]}), Value::Null, true),
        (json!({}), Value::Null, true),
        (json!({}), json!({"a": "1"}), false),
        (json!({"a": ["1"]}), json!({}), true),
        (Value::Null, json!({"a": "1"}), false),
    ] {
        let mut event = load_balancer();
        event["multiValueHeaders"] = multi;
        event["headers"] = single;
        let text = event.to_string();
        let parsed = Event::parse(&text).expect("an event");
        let read = read_request(parsed, None, &Context::default());
        assert_eq!(read.is_multi_value, expected, "{text}");
    }
}

#[test]
fn the_clients_headers_and_cookies_are_kept() {
    let mut event = http_api("/");
    event["headers"] = json!({
        "a": "1,2", "bad name": "x", "b": null, "d": "é", "x-forwarded-proto": "http", "cookie": "c=1",
    });
    event["cookies"] = json!(["c=1", "d=2", null]);
    let read = request(&event);
    assert_eq!(read.headers()["a"], "1,2");
    assert_eq!(read.headers().get("b"), None);
    assert_eq!(read.headers()["d"].as_bytes(), "é".as_bytes());
    let cookies: Vec<_> = read.headers().get_all(header::COOKIE).iter().collect();
    assert_eq!(cookies, ["c=1; d=2"]);
    assert_eq!(read.headers()["host"], OWN);
    assert_eq!(read.extensions().get::<Scheme>(), Some(&Scheme::HTTP));
}

/// Every key of every front door's event may be null in place of missing.
#[test]
fn null_is_missing() {
    let keys = [
        "body",
        "cookies",
        "headers",
        "isBase64Encoded",
        "is_base64_encoded",
        "multiValueHeaders",
        "multiValueQueryStringParameters",
        "pathParameters",
        "queryStringParameters",
        "query_string_parameters",
        "rawQueryString",
        "resource",
        "routeKey",
        "stageVariables",
    ];
    for mut event in [
        http_api("/a"),
        rest_api(),
        load_balancer(),
        lattice(),
        lattice_v1(),
    ] {
        let expected = request(&event);
        for key in keys {
            event[key] = Value::Null;
        }
        for key in [
            "authorizer",
            "identity",
            "stage",
            "path",
            "timeEpoch",
            "requestTimeEpoch",
        ] {
            if event["requestContext"].is_object() && event["requestContext"].get(key).is_none() {
                event["requestContext"][key] = Value::Null;
            }
        }
        let read = request(&event);
        assert_eq!(read.uri(), expected.uri());
        assert_eq!(read.method(), expected.method());
        assert_eq!(read.headers(), expected.headers());
    }
    for mut event in [rest_api(), http_api("/")] {
        let key = if event["version"] == "2.0" {
            "rawPath"
        } else {
            "path"
        };
        event[key] = Value::Null;
        assert_eq!(request(&event).uri().path(), "/");
    }
}

#[test]
fn handlers_can_ask_what_the_front_door_knows() {
    let mut event = http_api("/v1/post");
    event["routeKey"] = "ANY /{proxy+}".into();
    event["pathParameters"] = json!({"proxy": "post"});
    event["stageVariables"] = json!({"a": "b"});
    event["rawQueryString"] = "q=1&q=2".into();
    event["requestContext"]["authorizer"] =
        json!({"jwt": {"claims": {"sub": "me"}, "scopes": null}});
    let read = request(&event);
    assert_eq!(read.lambda_context().request_id, "r-1");
    assert_eq!(read.path_parameters().first("proxy"), Some("post"));
    assert_eq!(read.stage_variables().first("a"), Some("b"));
    assert_eq!(
        read.query_string_parameters().all("q"),
        Some(vec!["1", "2"])
    );
    assert_eq!(read.raw_http_path(), "/v1/post");
    let context = read.request_context();
    let authorizer = context.authorizer().expect("an authorizer");
    assert_eq!(
        authorizer.jwt.as_ref().expect("a token").claims["sub"],
        "me"
    );
    let contexts =
        [rest_api(), load_balancer(), lattice()].map(|event| request(&event).request_context());
    assert!(matches!(
        contexts,
        [
            RequestContext::ApiGatewayV1(_),
            RequestContext::Alb(_),
            RequestContext::VpcLattice(_)
        ]
    ));
    assert!(request(&lattice_v1()).request_context_ref().is_none());
}

#[test]
fn an_event_with_values_of_other_types_is_an_error_that_names_the_key() {
    for (key, value) in [
        ("headers", json!([])),
        ("cookies", json!("c=1")),
        ("isBase64Encoded", json!("yes")),
        ("pathParameters", json!(1)),
        ("rawQueryString", json!({})),
        ("rawPath", json!(1)),
        ("body", json!({})),
    ] {
        let mut event = http_api("/");
        event[key] = value;
        let error = try_request(&event).expect_err(key).to_string();
        assert!(
            error.contains(&format!("{key}`")) || key == "body",
            "{key}: {error}"
        );
    }
    for key in ["raw_path", "query_string_parameters", "is_base64_encoded"] {
        let mut event = lattice_v1();
        event[key] = json!(1);
        let error = try_request(&event).expect_err(key).to_string();
        assert_eq!(error, format!("invalid `{key}` in the event"));
    }
}

#[test]
fn an_error_quotes_an_invalid_method_or_path_shortened() {
    let mut event = http_api("/");
    event["requestContext"]["http"]["method"] = "GE T".into();
    let error = try_request(&event).expect_err("a blank").to_string();
    assert_eq!(error, "invalid HTTP method in the event: \"GE T\"");
    let error = try_request(&http_api(&"/\u{e9}".repeat(20_000)));
    let error = error.expect_err("a long path").to_string();
    assert!(
        error.starts_with("invalid path or query in the event: \"/%C3%A9/") && error.len() < 150,
        "{error}"
    );
}

#[test]
fn more_headers_than_http_allows_are_left_out() {
    let mut event = rest_api();
    let headers = (0..40_000).map(|number| (format!("x-{number}"), json!(["1"])));
    event["multiValueHeaders"] = Value::Object(headers.collect());
    assert!(request(&event).headers().len() > 20_000);
}

/// Any text may stand where an event has one; hosts, paths and queries in particular.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,20}",
        "(/|%|%2[0-9a-f]|[a-z?#|^`{}<>\\\\]|é){0,30}",
        Just("999.999.999.999".to_owned()),
        Just("[::1".to_owned()),
        Just("xn--".to_owned()),
    ]
}

/// A value of any type.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => text().prop_map(Value::String),
        1 => Just(Value::Null),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => any::<bool>().prop_map(|flag| json!(flag)),
        2 => prop::collection::vec(text(), 0..3).prop_map(|list| json!(list)),
        2 => prop::collection::hash_map(text(), text(), 0..3).prop_map(|map| json!(map)),
        2 => prop::collection::hash_map(text(), prop::collection::vec(text(), 0..3), 0..3)
            .prop_map(|map| json!(map)),
    ]
}

const KEYS: [&str; 17] = [
    "path",
    "rawPath",
    "raw_path",
    "httpMethod",
    "method",
    "rawQueryString",
    "queryStringParameters",
    "query_string_parameters",
    "multiValueQueryStringParameters",
    "headers",
    "multiValueHeaders",
    "cookies",
    "resource",
    "routeKey",
    "pathParameters",
    "isBase64Encoded",
    "body",
];

const CONTEXT_KEYS: [&str; 9] = [
    "stage",
    "domainName",
    "path",
    "http",
    "timeEpoch",
    "requestTimeEpoch",
    "authorizer",
    "identity",
    "httpMethod",
];

proptest! {
    #[test]
    fn no_event_panics_whatever_its_values(
        sample in prop::sample::select(vec![
            http_api("/"), rest_api(), load_balancer(), lattice(), lattice_v1(),
        ]),
        values in prop::collection::vec((prop::sample::select(&KEYS[..]), value()), 0..6),
        context in prop::collection::vec((prop::sample::select(&CONTEXT_KEYS[..]), value()), 0..4),
        host in text(),
    ) {
        let mut event = sample;
        event["headers"] = json!({"host": host});
        for (key, value) in values {
            event[key] = value;
        }
        for (key, value) in context {
            event["requestContext"][key] = value;
        }
        let text = event.to_string();
        if let Ok(parsed) = Event::parse(&text) && parsed.source.is_http() {
            let _ = parsed.arrived();
            let read = read_request(parsed, Some("/base"), &Context::default());
            if let Ok(request) = read.request {
                prop_assert!(request.uri().path().starts_with('/'));
                prop_assert!(request.uri().authority().is_none());
            }
        }
    }
}

/// `lambda_http` panics at some of them.
#[test]
fn no_event_panics() {
    for event in [
        json!({"requestContext": {}, "httpMethod": "GET"}),
        json!({"requestContext": {}, "httpMethod": "\u{0}"}),
        json!({"requestContext": {}, "httpMethod": "GET", "path": "no slash"}),
        json!({"requestContext": {"domainName": "\u{fc} \n"}, "httpMethod": "GET", "path": "//evil.example/"}),
        json!({"requestContext": {}, "httpMethod": "GET", "headers": {"host": "[::1"}, "path": "/"}),
        json!({"requestContext": {}, "httpMethod": "GET", "headers": {"Host": "999.999.999.999"}}),
        json!({"requestContext": {"stage": "\u{0}/?#"}, "httpMethod": "GET", "path": "/|<>^`{}\\"}),
        json!({"requestContext": {"requestTimeEpoch": u64::MAX}, "httpMethod": "GET", "body": "?", "isBase64Encoded": true}),
        json!({"requestContext": {"requestTimeEpoch": -1, "identity": 5}, "httpMethod": "GET"}),
        json!({"requestContext": {"http": {"method": 5}}, "version": "2.0", "rawPath": "/%zz%", "rawQueryString": "\u{7f}#%|"}),
        json!({"requestContext": {"http": 1}, "version": "2.0", "headers": {"host": "a b"}}),
        json!({"requestContext": {"elb": 1}, "httpMethod": "GET", "headers": {"host": ":x"}, "path": "/"}),
        json!({"raw_path": "/a?b#c", "method": "", "headers": {"host": "\u{0}"}}),
        json!({"version": "2.0", "requestContext": {"serviceArn": 1}, "path": "?", "method": "GET"}),
    ] {
        let text = event.to_string();
        let parsed = Event::parse(&text).expect("an event");
        let _ = parsed.arrived();
        let read = read_request(parsed, Some("/base"), &Context::default());
        if let Ok(request) = read.request {
            assert!(request.uri().path().starts_with('/'), "{text}");
        }
    }
}
