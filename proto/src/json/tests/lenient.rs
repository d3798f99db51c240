//! Deliberate differences from Jina 3.13: input on which it returns wrong data or a bare 500, limits, and
//! the details of both styles.

use super::*;
use crate::{
    DecodeLimits, Timestamp,
    jina::{JinaInfoProto, RouteProto, StatusProto, status_proto::ExceptionProto},
};

fn read(body: &str) -> Result<DataRequest, Vec<FieldError>> {
    let whole = invalid(read_request(json(body), EndpointFrom::Body));
    let parsed = parse_request(body.as_bytes(), DecodeLimits::default()).expect("JSON");
    let converted = invalid(read_request(parsed, EndpointFrom::Body));
    assert_eq!(whole.as_ref().err(), converted.as_ref().err());
    converted
}

fn invalid<T>(result: Result<T, ReadError>) -> Result<T, Vec<FieldError>> {
    result.map_err(|error| match error {
        ReadError::Invalid(errors) => errors,
        ReadError::TooLarge(exceeded) => panic!("{exceeded}"),
    })
}

/// Returns `loc`, joined with dots, and the type of each error.
fn errors_of(body: &str) -> Vec<(String, String)> {
    let errors = read(body).expect_err(body);
    let step = |loc: &Loc| match loc {
        Loc::Key(key) => key.clone(),
        Loc::Index(index) => index.to_string(),
    };
    errors
        .into_iter()
        .map(|error| {
            let loc: Vec<_> = error.loc.iter().map(step).collect();
            (loc.join("."), error.kind)
        })
        .collect()
}

#[test]
fn whole_numbers_in_tags_and_metadata_stay_numbers() {
    let request =
        read(r#"{"data":[{"tags":{"one":1,"zero":0,"two":2},"_metadata":{"x":1,"y":1.0}}]}"#);
    let document = first_document(&request.expect("valid"));
    assert_eq!(
        document.get("tags"),
        Some(&json(r#"{"one":1.0,"two":2.0,"zero":0.0}"#))
    );
    assert_eq!(
        document.get("_metadata"),
        Some(&json(r#"{"x":1.0,"y":1.0}"#))
    );
}

#[test]
fn values_on_which_jina_fails_are_reported_with_their_path() {
    let cases = [
        (
            r#"{"data":[{"id":"a","text":"x","blob":"!!notb64"}]}"#,
            "body.data.0.blob",
            "value_error.base64",
        ),
        (
            r#"{"data":[{"granularity":-1}]}"#,
            "body.data.0.granularity",
            "value_error.number.not_ge",
        ),
        (
            r#"{"data":[{"adjacency":4294967296}]}"#,
            "body.data.0.adjacency",
            "value_error.number.not_le",
        ),
        (
            r#"{"data":[{"adjacency":123456789012345678901}]}"#,
            "body.data.0.adjacency",
            "value_error.number.not_le",
        ),
        (
            r#"{"data":[{"weight":1e39}]}"#,
            "body.data.0.weight",
            "value_error.number.not_le",
        ),
        (
            r#"{"data":[{"location":[0,-1e39]}]}"#,
            "body.data.0.location.1",
            "value_error.number.not_ge",
        ),
        (
            r#"{"data":[{"tensor":[1,null]}]}"#,
            "body.data.0.tensor",
            "type_error",
        ),
        (
            r#"{"data":[{"tensor":[{}]}]}"#,
            "body.data.0.tensor",
            "type_error",
        ),
        (
            r#"{"data":[{"embedding":[18446744073709551616]}]}"#,
            "body.data.0.embedding",
            "type_error",
        ),
        (
            r#"{"parameters":[[null,1]]}"#,
            "body.parameters.__key__",
            "type_error.none.not_allowed",
        ),
    ];
    for (body, loc, kind) in cases {
        let errors = errors_of(body);
        assert_eq!(errors[0], (loc.to_owned(), kind.to_owned()), "{body}");
    }
}

#[test]
fn an_object_without_docs_is_reported() {
    let errors = errors_of(r#"{"data":{"foo":[{"id":"a"}]}}"#);
    let (loc, kind) = errors.last().expect("an error");
    assert_eq!(
        (loc.as_str(), kind.as_str()),
        ("body.data.docs", "value_error.missing")
    );
}

#[test]
fn integers_of_any_length_are_handled() {
    let digits = "9".repeat(400);
    let errors = errors_of(&format!(r#"{{"data":[{{"weight":{digits}}}]}}"#));
    assert_eq!(errors[0].0, "body.data.0.weight");
    let errors = errors_of(&format!(r#"{{"parameters":{{"a":[{digits}]}}}}"#));
    assert_eq!(errors[0].0, "body.parameters.a");
    let too_long = parse("9".repeat(5000).as_bytes()).expect_err("too long");
    assert_eq!(too_long.kind, SyntaxErrorKind::Unreadable);
}

#[test]
fn the_size_of_a_string_array_is_limited() {
    let long = "x".repeat(100_000);
    let many = "\"\",".repeat(1000);
    let body = format!(r#"{{"data":[{{"id":"a","text":"x","tensor":[{many}"{long}"]}}]}}"#);
    assert_eq!(errors_of(&body)[0].0, "body.data.0.tensor");
}

#[test]
fn values_nested_deeper_than_protobuf_allows_are_rejected() {
    let nested = |open: &str, close: &str, n: usize| open.repeat(n) + "null" + &close.repeat(n);
    let tags = nested("[", "]", 60);
    let errors = errors_of(&format!(r#"{{"data":[{{"tags":{{"a":{tags}}}}}]}}"#));
    assert_eq!(errors[0].0, "body.data.0.tags.a");
    let chunks = nested("{\"chunks\":[", "]}", 100).replace("null", "");
    assert!(read(&format!(r#"{{"data":[{chunks}]}}"#)).is_err());
    let error = parse(nested("[", "]", 300).as_bytes()).expect_err("too deep");
    assert_eq!(error.kind, SyntaxErrorKind::Unreadable);
}

#[test]
fn the_deepest_accepted_values_can_be_encoded_and_decoded() {
    // The deepest tags and chunks that are accepted.
    let tags = "[".repeat(41) + &"]".repeat(41);
    let chunks = "{\"chunks\":[".repeat(86) + "{}" + &"]}".repeat(86);
    let body = format!(r#"{{"data":[{{"tags":{{"a":{tags}}}}},{chunks}]}}"#);
    let request = read(&body).expect("within the limits");
    let wire = prost::Message::encode_to_vec(&request);
    let answer: DataRequest = prost::Message::decode(&wire[..]).expect("a message");
    assert_eq!(answer.documents.decode().expect("documents").len(), 2);
    assert!(write_http(&answer).is_ok());
}

#[test]
fn at_most_a_thousand_errors_are_reported_for_each_form_of_data() {
    let body = format!(r#"{{"data":[{}1]}}"#, "1,".repeat(5000));
    assert_eq!(read(&body).expect_err("5001 errors").len(), 1001);
}

#[test]
fn half_a_surrogate_pair_is_no_text_wherever_it_is() {
    for body in [
        r#"{"data":[{"text":"a\ud800b"}]}"#,
        r#"{"data":[{"id":"\udc00"}]}"#,
        r#"{"data":[{"tags":{"\ud83d":1}}]}"#,
        r#"{"data":[{"tags":{"a":["\ud83d\ud83d\ude00"]}}]}"#,
        r#"{"data":[{"chunks":[{"text":"\ud83d\n"}]}]}"#,
        r#"{"parameters":{"a":"\uDFFF"}}"#,
        r#"{"parameters":{"\uD800":1}}"#,
        r#"{"header":{"requestId":"\ud800"}}"#,
        r#"{"targetExecutor":"\ud800"}"#,
        r#"{"unknown":"\ud800"}"#,
    ] {
        let error = parse_request(body.as_bytes(), DecodeLimits::default());
        let error = error.expect_err(body);
        assert_eq!(error.kind, SyntaxErrorKind::Grammar, "{body}");
        let column = body.to_lowercase().find("\\ud").expect("an escape") + 1;
        let expected = format!(
            "Lone surrogate in \\uXXXX escape: line 1 column {column} (char {})",
            column - 1
        );
        assert_eq!(error.to_string(), expected, "{body}");
        assert!(parse(body.as_bytes()).is_err());
    }
    assert_eq!(json(r#""\ud83d\ude00""#), Json::String("\u{1f600}".into()));
}

#[test]
fn bytes_that_are_not_utf8_are_unreadable() {
    let error = parse(b"\"\xff\"").expect_err("not UTF-8");
    assert_eq!(error.kind, SyntaxErrorKind::Unreadable);
    assert!(error.to_string().contains("0xff in position 1"), "{error}");
    assert_eq!(
        parse(b"\xef\xbb\xbf1"),
        Ok(Json::Int(1)),
        "a byte order mark"
    );
}

#[test]
fn the_endpoint_of_a_route_overrides_the_body() {
    let body = json(r#"{"exec_endpoint":[],"execEndpoint":null}"#);
    let request = read_request(body, EndpointFrom::Path("/index")).expect("valid");
    assert_eq!(request.exec_endpoint(), Some("/index"));
}

#[test]
fn a_failed_request_is_echoed_with_its_error() {
    let mut sent = read(r#"{"data":[{"id":"a"}],"parameters":{"n":1,"x":1.5}}"#).expect("valid");
    sent.header.request_id = "r".to_owned();
    let body = parse(&write_failed_request(&sent, "it is \"down\"")).expect("JSON");
    let header = r#"{"requestId":"r","status":{"code":1,"description":"it is \"down\"","exception":
        {"name":"<class 'jina.excepts.InternalNetworkError'>","args":[],"stacks":[],"executor":""}},
        "execEndpoint":"","targetExecutor":""}"#;
    assert_eq!(body.get("header"), Some(&json(header)));
    assert_eq!(body.get("parameters"), Some(&json(r#"{"n":1,"x":1.5}"#)));
    assert_eq!(body.get("routes"), Some(&Json::Null));
    assert!(matches!(body.get("data"), Some(Json::List(documents)) if documents.len() == 1));
    let body = parse(&write_failed_request(&read("{}").expect("valid"), "")).expect("JSON");
    assert_eq!(body.get("parameters"), Some(&Json::Null));
    assert_eq!(body.get("data"), Some(&Json::Null));
}

#[test]
fn a_failed_request_keeps_integers_at_the_limits_of_64_bits() {
    let numbers = "[-9223372036854775808,9223372036854775808,18446744073709549568]";
    let sent = read(&format!(r#"{{"parameters":{{"n":{numbers}}}}}"#)).expect("valid");
    let body = String::from_utf8(write_failed_request(&sent, "")).expect("UTF-8");
    assert!(
        body.contains(&format!(r#""parameters":{{"n":{numbers}}}"#)),
        "{body}"
    );
    let sent = read(r#"{"parameters":{"n":18446744073709551616}}"#).expect("valid");
    let body = String::from_utf8(write_failed_request(&sent, "")).expect("UTF-8");
    assert!(body.contains(r#"{"n":1.8446744073709552e+19}"#), "{body}");
}

/// Vectors `http/02-dry_run`, `ws/09-dry_run_json`, `http/39-executor_down_dry_run`.
#[test]
fn dry_run_statuses_are_as_recorded() {
    let success = StatusProto::default();
    let all = r#"{"code":0,"description":"","exception":null}"#;
    assert_eq!(write_status(&success, JsonStyle::Http), all);
    assert_eq!(write_status(&success, JsonStyle::WebSocket), "{}");
    let down = StatusProto {
        code: 1,
        description: "d".to_owned(),
        exception: Some(ExceptionProto {
            name: "InternalNetworkError".to_owned(),
            args: vec!["d".to_owned()],
            ..Default::default()
        }),
    };
    let all = r#"{"code":1,"description":"d","exception":{"name":"InternalNetworkError","args":["d"],"stacks":[],"executor":""}}"#;
    assert_eq!(write_status(&down, JsonStyle::Http), all);
    let set = r#"{"code": 1, "description": "d", "exception": {"name": "InternalNetworkError", "args": ["d"]}}"#;
    assert_eq!(write_status(&down, JsonStyle::WebSocket), set);
}

#[test]
fn info_is_two_objects_of_strings() {
    let info = JinaInfoProto {
        jina: [("jina".to_owned(), "3.13.2".to_owned())].into(),
        envs: [("JINA_LOG_LEVEL".to_owned(), "(unset)".to_owned())].into(),
    };
    let expected = r#"{"jina":{"jina":"3.13.2"},"envs":{"JINA_LOG_LEVEL":"(unset)"}}"#;
    assert_eq!(write_info(&info), expected.as_bytes());
}

#[test]
fn times_have_the_digits_of_each_style() {
    let cases = [
        (
            0,
            r#""startTime":"2001-09-09T01:46:40+00:00""#,
            r#""start_time": "2001-09-09T01:46:40Z""#,
        ),
        (
            5_000_000,
            r#""startTime":"2001-09-09T01:46:40.005000+00:00""#,
            r#""start_time": "2001-09-09T01:46:40.005Z""#,
        ),
        (
            5_000,
            r#""startTime":"2001-09-09T01:46:40.000005+00:00""#,
            r#""start_time": "2001-09-09T01:46:40.000005Z""#,
        ),
        (
            5,
            r#""startTime":"2001-09-09T01:46:40+00:00""#,
            r#""start_time": "2001-09-09T01:46:40.000000005Z""#,
        ),
    ];
    for (nanos, http, websocket) in cases {
        let answer = at(1_000_000_000, nanos);
        let text = String::from_utf8(write_http(&answer).expect("valid")).expect("UTF-8");
        assert!(text.contains(http), "{text}");
        let text = write_websocket(&answer).expect("valid");
        assert!(text.contains(websocket), "{text}");
    }
}

fn at(seconds: i64, nanos: i32) -> DataRequest {
    let route = RouteProto {
        executor: "gateway".to_owned(),
        start_time: Some(Timestamp { seconds, nanos }),
        ..Default::default()
    };
    DataRequest {
        routes: vec![route],
        ..Default::default()
    }
}

#[test]
fn times_out_of_range_are_unset() {
    for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, i32::MAX)] {
        let text =
            String::from_utf8(write_http(&at(seconds, nanos)).expect("valid")).expect("UTF-8");
        assert!(text.contains(r#""startTime":null"#), "{text}");
    }
}
