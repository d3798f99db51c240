//! The key `function` -> how the Gateway serves as a Lambda function.

mod websocket;

use std::time::Duration;

use super::MAX_MILLISECONDS;
use crate::{
    diagnostic::Report,
    known,
    section::{Layer, Section},
};

pub use websocket::WebSocketConfig;

/// How the Gateway serves as a Lambda function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionConfig {
    /// Whether answers are streamed to front doors that can stream: a function URL with `InvokeMode: RESPONSE_STREAM`,
    /// a REST API with `responseTransferMode: STREAM`. It must say the same as the front door. Off by default, as
    /// theirs is.
    pub response_streaming: bool,
    /// How long the front door waits, where its quota is not the usual one; `None` is what AWS documents for the kind
    /// of event.
    pub front_door_timeout: Option<Duration>,
    /// How much earlier than the front door's end or Lambda's own the answer has to be there. 500 ms by default: what
    /// a small function needs to write and hand over an answer of 6 MB. Before Lambda's end, an answer to a WebSocket has
    /// 10 ms more for each of its `websocket.max_parts`.
    pub answer_margin: Duration,
    /// What stands before every path: the mapping of a custom domain, or the path of a load balancer's rule. Begins
    /// with `/` and does not end with one.
    pub base_path: Option<String>,
    /// Whether a function URL without authorizer is meant to be open to anyone. Off by default: `cargo lambda deploy
    /// --enable-function-url` makes one without saying so.
    pub public_url: bool,
    /// From how many bytes an answer is compressed for a client that takes it; `None` is never. 64 KiB by default: less
    /// is hardly faster on the way, and costs time that is paid for.
    pub compress_answers_from: Option<usize>,
    /// Whether the REST API in front takes every media type as binary (`binaryMediaTypes: */*`). Only then does it decode
    /// base64, so that answers may be compressed and gRPC-Web and Connect pass in binary. Off by default, as theirs is.
    pub rest_binary: bool,
    /// How long an answer waits at most for floating work, which the freeze after it would leave hanging; `None` is until
    /// the deadline. The client waits as long.
    pub wait_for_floating: Option<Duration>,
    /// The namespace of the metrics in CloudWatch, `Flowgate` by default; `None` is no metrics.
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

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> FunctionConfig {
    let default = FunctionConfig::default();
    let Some((place, entries)) = section.map(&["function"], report) else {
        return default;
    };
    known::check_own(&place, entries, KEYS, report);
    let section = Section::new([Layer::of_file(place, entries)]);
    let metrics = section.maybe_flag(&["metrics"], report).unwrap_or(true);
    FunctionConfig {
        response_streaming: section.flag(&["response_streaming"], report),
        front_door_timeout: milliseconds(&section, "front_door_timeout", 1, report),
        answer_margin: milliseconds(&section, "answer_margin", 0, report)
            .unwrap_or(default.answer_margin),
        base_path: base_path(&section, report),
        public_url: section.flag(&["public_url"], report),
        compress_answers_from: compress_answers_from(&section, report)
            .unwrap_or(default.compress_answers_from),
        rest_binary: section.flag(&["rest_binary"], report),
        wait_for_floating: milliseconds(&section, "wait_for_floating", 0, report),
        metrics_namespace: metrics_namespace(&section, report)
            .or(default.metrics_namespace)
            .filter(|_| metrics),
        websocket: websocket::read(&section, report),
    }
}

fn milliseconds(
    section: &Section<'_>,
    name: &str,
    least: i64,
    report: &mut Report,
) -> Option<Duration> {
    let expected = format!("milliseconds from {least}, at most a day");
    let found = section.whole(&[name], least..=MAX_MILLISECONDS, &expected, report)?;
    u64::try_from(found).ok().map(Duration::from_millis)
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
        _ => section
            .find(&["base_path"])?
            .wrong("a path that starts with `/`", report),
    }
}

/// 0 is never, as with API Gateway's own setting where it is absent.
fn compress_answers_from(section: &Section<'_>, report: &mut Report) -> Option<Option<usize>> {
    let expected = "bytes, or 0 for never";
    let bytes = section.whole(&["compress_answers_from"], 0..=i64::MAX, expected, report)?;
    Some(usize::try_from(bytes).ok().filter(|bytes| *bytes > 0))
}

/// CloudWatch takes 1 to 255 characters (PutMetricData), and keeps names with `AWS/` for itself.
fn metrics_namespace(section: &Section<'_>, report: &mut Report) -> Option<String> {
    let name = section.text(&["metrics_namespace"], report)?;
    let fits = (1..=255).contains(&name.len())
        && !name.starts_with("AWS/")
        && !name.starts_with(':')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-./#: ".contains(&byte));
    if fits {
        return Some(name);
    }
    section
        .find(&["metrics_namespace"])?
        .wrong("a CloudWatch namespace of 1 to 255 characters", report)
}

const KEYS: &[&str] = &[
    "answer_margin",
    "base_path",
    "compress_answers_from",
    "front_door_timeout",
    "metrics",
    "metrics_namespace",
    "public_url",
    "response_streaming",
    "rest_binary",
    "wait_for_floating",
    "websocket",
];
