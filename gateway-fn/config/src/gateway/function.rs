//! The key `function` -> how the Gateway serves as a Lambda function.

mod websocket;

use std::time::Duration;

use super::MAX_MILLISECONDS;
use crate::{diagnostic::Report, section::Section};

pub use websocket::WebSocketConfig;

/// How the Gateway serves as a Lambda function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionConfig {
    /// Whether answers are streamed to front doors that support it: a function URL with `InvokeMode: RESPONSE_STREAM`,
    /// a REST API with `responseTransferMode: STREAM`. It has to match the front door's setting. Off by default,
    /// because both front doors buffer by default.
    pub response_streaming: bool,
    /// How long the front door waits for an answer. Needed only if its quota was changed: `None` is the time that AWS
    /// documents for the kind of event.
    pub front_door_timeout: Option<Duration>,
    /// The time reserved for writing and returning the answer: it has to be ready this long before the timeout of the
    /// front door or of Lambda. 500 ms by default, which a small function needs for an answer of 6 MB. An answer to a
    /// WebSocket reserves 10 ms more before Lambda's timeout for each of the `websocket.max_parts`.
    pub answer_margin: Duration,
    /// A prefix to remove from paths that begin with it: the path of a load balancer's or VPC Lattice's rule, or a custom
    /// domain's mapping that the route of an event does not show. Begins with `/` and does not end with it.
    pub base_path: Option<String>,
    /// Whether a function URL without authorizer may be called by anyone. Off by default: `cargo lambda deploy
    /// --enable-function-url` makes such a URL without a warning.
    pub public_url: bool,
    /// The size in bytes from which answers are compressed for clients that accept it; `None` never compresses. 64 KiB
    /// by default: compressing a smaller answer costs billed time and hardly saves transfer time.
    pub compress_answers_from: Option<usize>,
    /// Whether the REST API in front treats every media type as binary (`binaryMediaTypes: */*`). Only then does it
    /// decode base64, so that answers may be compressed and binary gRPC-Web and Connect work. Off by default: a REST
    /// API treats no media type as binary unless it is configured.
    pub rest_binary: bool,
    /// How long floating work may go on after an answer, before Lambda freezes the process; `None` until the function's
    /// timeout. Where Lambda's Extensions API is missing, the answer waits for it, at most until the request's deadline.
    pub wait_for_floating: Option<Duration>,
    /// The namespace of the metrics in CloudWatch, `Flowgate` by default; `None` turns metrics off. In an emulator they
    /// are off unless the Flow turns them on, because no service reads them there.
    pub metrics_namespace: Option<String>,
    /// How messages of a WebSocket API are answered.
    pub websocket: WebSocketConfig,
}

impl Default for FunctionConfig {
    fn default() -> Self {
        Self {
            response_streaming: false,
            front_door_timeout: None,
            answer_margin: Duration::from_millis(500),
            base_path: None,
            public_url: false,
            compress_answers_from: Some(64 << 10),
            rest_binary: false,
            wait_for_floating: None,
            metrics_namespace: Some("Flowgate".to_owned()),
            websocket: WebSocketConfig::default(),
        }
    }
}

/// Returns the settings of a Flow without a section `function`.
pub(super) fn defaults(env: &dyn Fn(&str) -> Option<String>) -> FunctionConfig {
    let mut defaults = FunctionConfig::default();
    if is_emulated(env) {
        defaults.metrics_namespace = None;
    }
    defaults
}

/// Whether this is a function in an emulator. `sam local` and `flowgate local` set `AWS_SAM_LOCAL`. `cargo lambda watch`
/// does not, but sets no log stream, as Lambda does except with SnapStart (AWS Lambda, "Lambda SnapStart", environment
/// variables).
fn is_emulated(env: &dyn Fn(&str) -> Option<String>) -> bool {
    let is_set = |name| env(name).is_some_and(|value| !value.is_empty());
    let is_snapshot =
        env("AWS_LAMBDA_INITIALIZATION_TYPE").is_some_and(|kind| kind == "snap-start");
    let is_on_lambda = is_set("AWS_LAMBDA_LOG_STREAM_NAME") || is_snapshot;
    is_set("AWS_LAMBDA_FUNCTION_NAME") && (is_set("AWS_SAM_LOCAL") || !is_on_lambda)
}

/// Reads the section `function`.
pub(super) fn read(
    section: &Section<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> FunctionConfig {
    let default = FunctionConfig::default();
    let has_metrics = section
        .optional_flag(&["metrics"], report)
        .unwrap_or_else(|| !is_emulated(env));
    FunctionConfig {
        response_streaming: section.flag(&["response_streaming"], report),
        front_door_timeout: section.milliseconds(
            "front_door_timeout",
            1..=MAX_MILLISECONDS,
            report,
        ),
        answer_margin: section
            .milliseconds("answer_margin", 0..=MAX_MILLISECONDS, report)
            .unwrap_or(default.answer_margin),
        base_path: base_path(section, report),
        public_url: section.flag(&["public_url"], report),
        compress_answers_from: compress_answers_from(section, report)
            .unwrap_or(default.compress_answers_from),
        rest_binary: section.flag(&["rest_binary"], report),
        wait_for_floating: section.milliseconds("wait_for_floating", 0..=MAX_MILLISECONDS, report),
        metrics_namespace: metrics_namespace(section, report)
            .or(default.metrics_namespace)
            .filter(|_| has_metrics),
        websocket: section
            .subsection("websocket", report, websocket::read)
            .unwrap_or_default(),
    }
}

fn base_path(section: &Section<'_>, report: &mut Report) -> Option<String> {
    let path = section.text(&["base_path"], report)?;
    let path = path.trim_end_matches('/');
    let is_path = path.starts_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#%\"<>\\".contains(&byte));
    match path {
        "" => None,
        path if is_path => Some(path.to_owned()),
        _ => section.find(&["base_path"])?.invalid(
            "a path that starts with `/`, of visible ASCII characters without `? # % \" < > \\`",
            report,
        ),
    }
}

/// Reads 0 as never.
fn compress_answers_from(section: &Section<'_>, report: &mut Report) -> Option<Option<usize>> {
    let expected = "a number of bytes, or 0 for never";
    let bytes = section.integer(&["compress_answers_from"], 0..=i64::MAX, expected, report)?;
    Some(usize::try_from(bytes).ok().filter(|bytes| *bytes > 0))
}

/// CloudWatch accepts 1 to 255 characters (PutMetricData), and reserves names with `AWS/`.
fn metrics_namespace(section: &Section<'_>, report: &mut Report) -> Option<String> {
    let name = section.text(&["metrics_namespace"], report)?;
    let is_valid = (1..=255).contains(&name.len())
        && !name.starts_with("AWS/")
        && !name.starts_with(':')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-./#: ".contains(&byte));
    if is_valid {
        return Some(name);
    }
    section.find(&["metrics_namespace"])?.invalid(
        "a CloudWatch namespace of 1 to 255 letters, digits, spaces and `_-./#:`, not starting with `AWS/` or `:`",
        report,
    )
}
