//! All sample events go through the plain conversion of `lambda_http` and through ours: the project's own (`tests/events`) and
//! those that ship in the packages `aws_lambda_events` (`src/fixtures`) and `lambda_http` (`tests/data`), which are read from
//! the registry's sources as `cargo metadata` finds them. Method, path without the stage, query, headers and body must be
//! equal; [`DIFFERENCES`] names each exception and its reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::Command,
};

use executor_fn::invoke::{JsonPayload, WARM_UP_ANSWER, recognize_json};
use lambda_http::{lambda_runtime::FunctionResponse, request::RequestContext};
use serde_json::Value;

use super::*;
use crate::host::lambda::tests::{function, invocation};

/// What differs: the reason, the part of the request, and the files.
const DIFFERENCES: &[(&str, &str, &[&str])] = &[
    (
        "the domain of the API is the `host` of a request without one; lambda_http has it only in the URI",
        "header host",
        &[
            "apigw_request_path_with_space.json",
            "apigw_v2_proxy_request.json",
            "apigw_v2_proxy_request_with_stage_in_path.json",
            "example-apigw-console-test-request.json",
            "example-apigw-v2-request-iam.json",
            "example-apigw-v2-request-jwt-authorizer.json",
            "example-apigw-v2-request-lambda-authorizer.json",
            "example-apigw-v2-request-multi-value-parameters.json",
            "http_api.json",
            "rest_api.json",
        ],
    ),
    (
        "lambda_http keeps the last of several values when an event has both kinds of headers",
        "header headername",
        &["example-apigw-request-multi-value-parameters.json"],
    ),
    (
        "as for the header before",
        "header header2",
        &["rest_api.json"],
    ),
    (
        "as for the header before",
        "header cookie",
        &[
            "alb_multi_value_request.json",
            "alb_multi_value_request_encoded_query_parameters.json",
        ],
    ),
    (
        "lambda_http makes an empty header of an empty list of cookies",
        "header cookie",
        &[
            "apigw_v2_sam_local.json",
            "example-apigw-sam-http-request.json",
        ],
    ),
    (
        "the length in the sample is not that of its body",
        "header content-length",
        &["example-vpc-lattice-v2-request-base64.json"],
    ),
    (
        "lambda_http panics at the hosts `<url-id>.lambda-url...` and `...{dns_suffix}`, which are in no URI",
        "only ours reads it",
        &["example-apigw-console-request.json", "function_url.json"],
    ),
    (
        "lambda_http has no conversion for version 1 of VPC Lattice",
        "only ours reads it",
        &["example-vpc-lattice-v1-request.json", "vpc_lattice_v1.json"],
    ),
    (
        "an authorizer's event asks for a policy, and is not a request",
        "only lambda_http reads it",
        &[
            "example-apigw-custom-auth-request-type-request.json",
            "example-apigw-v2-custom-authorizer-v1-request.json",
            "example-apigw-v2-custom-authorizer-v2-request-without-identity-source.json",
            "example-apigw-v2-custom-authorizer-websocket-request.json",
        ],
    ),
    (
        "a WebSocket event has no request for the routes: `websocket` answers it",
        "only lambda_http reads it",
        &[
            "example-apigw-websocket-request-disconnect-route.json",
            "example-apigw-websocket-request-without-method.json",
            "example-apigw-websocket-request.json",
            "websocket_connect.json",
            "websocket_disconnect.json",
            "websocket_message.json",
        ],
    ),
];

/// A sample event.
struct Sample {
    name: String,
    text: String,
}

/// Reads all samples that are JSON objects.
fn samples() -> Vec<Sample> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/events");
    let folders = [
        root,
        package("aws_lambda_events").join("src/fixtures"),
        package("lambda_http").join("tests/data"),
    ];
    let mut samples = Vec::new();
    for folder in folders {
        let files = folder.read_dir().expect("a folder of samples").flatten();
        for path in files.map(|file| file.path()) {
            let is_json = path
                .extension()
                .is_some_and(|extension| extension == "json");
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if is_json && matches!(serde_json::from_str(&text), Ok(Value::Object(_))) {
                let name = path.file_name().expect("a file").to_string_lossy();
                let name = name.into_owned();
                samples.push(Sample { name, text });
            }
        }
    }
    assert!(samples.len() > 150, "{} samples", samples.len());
    samples
}

/// Returns the folder of a package in the registry's sources.
fn package(name: &str) -> PathBuf {
    // Packages for other platforms need not have been fetched.
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let metadata = cargo(&[
        "metadata",
        "--format-version=1",
        "--offline",
        "--locked",
        "--filter-platform",
        host.expect("cargo's host"),
    ]);
    let metadata: Value = serde_json::from_str(&metadata).expect("the packages as JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == name);
    let manifest = package.expect(name)["manifest_path"].as_str();
    let folder = Path::new(manifest.expect("a path")).parent();
    folder.expect("a folder").to_path_buf()
}

/// Runs cargo and returns what it prints.
fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    String::from_utf8(output.stdout).expect("text")
}

/// What is compared.
#[derive(Debug, PartialEq)]
struct Compared {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: BTreeMap<String, Vec<String>>,
    body: Vec<u8>,
}

impl Compared {
    fn of(request: &Request<Vec<u8>>, path: &str) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let mut query: Vec<_> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name), decode(value))
            })
            .collect();
        query.sort();
        let mut headers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, value) in request.headers() {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            headers.entry(name.to_string()).or_default().push(value);
        }
        Self {
            method: request.method().clone(),
            path: path.to_owned(),
            query,
            headers,
            body: request.body().clone(),
        }
    }

    /// Names what differs.
    fn differences(&self, other: &Self) -> Vec<String> {
        let parts = [
            ("method", self.method == other.method),
            ("path", self.path == other.path),
            ("query", self.query == other.query),
            ("body", self.body == other.body),
        ];
        let parts = parts.into_iter().filter(|(_, is_equal)| !is_equal);
        let names: BTreeSet<_> = self.headers.keys().chain(other.headers.keys()).collect();
        let headers = names
            .into_iter()
            .filter(|name| self.headers.get(*name) != other.headers.get(*name));
        let headers = headers.map(|name| format!("header {name}"));
        parts
            .map(|(name, _)| name.to_owned())
            .chain(headers)
            .collect()
    }
}

fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    let text = percent_encoding::percent_decode_str(&text);
    text.decode_utf8_lossy().into_owned()
}

/// The plain conversion of `lambda_http`; `None` if it fails or panics.
fn plain(text: &str) -> Option<Compared> {
    let request = catch_unwind(AssertUnwindSafe(|| lambda_http::request::from_str(text)));
    let request = request.ok()?.ok()?;
    let stage = match request.request_context_ref()? {
        RequestContext::ApiGatewayV1(context) => context.stage.clone(),
        RequestContext::ApiGatewayV2(context) => context.stage.clone(),
        RequestContext::WebSocket(context) => context.stage.clone(),
        _ => None,
    };
    let prefix = stage.map(|stage| format!("/{stage}"));
    let path = request.uri().path().to_owned();
    let behind = prefix.and_then(|prefix| path.strip_prefix(&prefix).map(str::to_owned));
    let behind = behind.unwrap_or(path);
    let path = if behind.is_empty() { "/" } else { &behind };
    Some(Compared::of(&request.map(|body| body.to_vec()), path))
}

fn ours(event: Event<'_>) -> Option<Compared> {
    let mut headers = headers(&event).ok()?.0;
    let mut event = event;
    let parts = read_parts(&mut event, None, &mut headers).ok()?;
    let request = front_door::build(&mut event, parts, headers);
    let request = request.map(|body| body.to_vec());
    Some(Compared::of(&request, request.uri().path()))
}

#[test]
fn requests_are_those_of_lambda_http_but_for_named_differences() {
    let mut found = BTreeSet::new();
    let mut compared = 0;
    for Sample { name, text } in samples() {
        let event = Event::parse(&text)
            .ok()
            .filter(|event| event.source.is_http());
        let different = match (event.and_then(ours), plain(&text)) {
            (Some(ours), Some(plain)) => {
                compared += 1;
                ours.differences(&plain)
            }
            (Some(_), None) => vec!["only ours reads it".to_owned()],
            (None, Some(_)) => vec!["only lambda_http reads it".to_owned()],
            (None, None) => Vec::new(),
        };
        found.extend(different.into_iter().map(|part| (name.clone(), part)));
    }
    let named = DIFFERENCES.iter().flat_map(|(_, part, files)| {
        let files = files.iter();
        files.map(|file| ((*file).to_owned(), (*part).to_owned()))
    });
    let named: BTreeSet<_> = named.collect();
    assert_eq!(found, named);
    assert!(compared > 30, "{compared} samples were compared");
}

/// The samples that are not events but responses and parts of events, or have no key that only one service has: their
/// errors name the keys found.
const UNNAMED: &[&str] = &[
    "example-alb-lambda-target-response.json",
    "example-apigw-custom-auth-response-with-condition.json",
    "example-apigw-custom-auth-response-with-single-value-action.json",
    "example-apigw-custom-auth-response-with-single-value-resource.json",
    "example-apigw-custom-auth-response.json",
    "example-apigw-response.json",
    "example-appsync-batchinvoke.json",
    "example-appsync-identity-cognito.json",
    "example-appsync-identity-iam.json",
    "example-appsync-invoke.json",
    "example-appsync-lambda-auth-response.json",
    "example-cloudformation-custom-resource-provider-response.json",
    "example-cloudformation-custom-resource-response.json",
    "example-iot-custom-auth-response.json",
    "example-kinesis-firehose-response.json",
    "example-lex-response.json",
    "example-sns-subscription-confirmation.json",
    "example-sns-unsubscribe-confirmation.json",
    "example-sqs-api-event-obj.json",
    "example-sqs-batch-response.json",
    "example-vpc-lattice-response.json",
];

/// An event of another service is an error that says what it is, or a warmer. An Executor reads them in the same way, and
/// refuses the events of HTTP and WebSocket APIs too.
#[tokio::test]
async fn samples_of_other_services_are_errors_or_warmers() {
    let function = function("");
    let mut unnamed = Vec::new();
    for Sample { name, text } in samples() {
        let by_executor = recognize_json(&text);
        let source = Event::parse(&text).map(|event| event.source);
        if source.is_ok_and(|it| it.is_http() || it == EventSource::WebSocketApi) {
            assert!(matches!(by_executor, JsonPayload::Foreign(_)), "{name}");
            continue;
        }
        let answer = function.handle(text.into(), invocation()).await;
        match (answer, by_executor) {
            (Err(error), JsonPayload::Foreign(event)) => {
                assert_eq!(error.error_type, "Flowgate.UnknownEvent", "{name}");
                let received = event.received();
                let expected = format!("unknown event: {received}; expected ");
                let message = error.error_message;
                assert!(message.starts_with(&expected), "{name}: {message}");
                if !received.starts_with("an event of ") {
                    unnamed.push(name);
                }
            }
            (Ok(FunctionResponse::BufferedResponse(answer)), JsonPayload::WarmUp) => {
                assert_eq!(answer.get(), WARM_UP_ANSWER, "{name}");
            }
            (answer, by_executor) => {
                panic!("{name}: {:?}, {by_executor:?}", answer.map(|_| "an answer"))
            }
        }
    }
    unnamed.sort();
    assert_eq!(unnamed, UNNAMED);
}
