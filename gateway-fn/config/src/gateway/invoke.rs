//! The key `invoke` -> how `lambda://` Executors are invoked.

use std::time::Duration;

use crate::{diagnostic::Report, section::Section};

/// How `lambda://` Executors are invoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvokeConfig {
    /// The Invoke API to call, `http://` or `https://`; by default `AWS_ENDPOINT_URL_LAMBDA`, or else AWS's own. For an
    /// emulator, a VPC endpoint or a proxy.
    pub endpoint_url: Option<String>,
    /// The region of functions whose address has none; by default the environment's (`AWS_REGION`).
    pub region: Option<String>,
    /// Whether invocations are signed (`sign`). They are by default; an emulator at `endpoint_url` may need no
    /// credentials, and then none are looked for.
    pub signing: Signing,
    /// What is done at start so that the first request need not wait for it. [`WarmUp::Connect`] by default.
    pub warm_up: WarmUp,
    /// The most invocations that one large request may be split into, up to 1000; 1 never splits. 16 by default:
    /// enough for some 70 MB of incompressible documents, and few enough to limit the cost of a request that is large
    /// by mistake.
    pub max_parts: usize,
    /// The most concurrent invocations of one split request, up to 100. Four by default: each holds up to 12 MB of
    /// the Gateway's memory, and counts against the account's concurrency.
    pub parallel_parts: usize,
    /// The longest pause between two attempts, at most a minute; written in milliseconds. Five seconds by default:
    /// throttling lasts seconds, and a front door waits 29. A longer `Retry-After` of Lambda ends the attempts.
    pub max_retry_pause: Duration,
}

/// Whether invocations carry a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// With the environment's credentials.
    #[default]
    Signed,
    /// For an emulator.
    Unsigned,
}

/// What is done for `lambda://` Executors at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WarmUp {
    /// Nothing.
    None,
    /// Builds the client, finds credentials, and connects to each region by Lambda's own dry run, which starts no
    /// function and costs nothing. Not with `endpoint_url`: an emulator may take a dry run for an invocation.
    #[default]
    Connect,
    /// Does the same, and also sends an empty request to every function at once, so that a chain of them has its cold
    /// starts concurrently. Functions run, and are billed.
    DryRun,
}

impl Default for InvokeConfig {
    fn default() -> Self {
        Self {
            endpoint_url: None,
            region: None,
            signing: Signing::default(),
            warm_up: WarmUp::default(),
            max_parts: 16,
            parallel_parts: 4,
            max_retry_pause: Duration::from_secs(5),
        }
    }
}

/// Reads the section `invoke`.
pub(super) fn read(section: &Section<'_>, report: &mut Report) -> InvokeConfig {
    let default = InvokeConfig::default();
    let endpoint_url = endpoint_url(section, report);
    InvokeConfig {
        region: region(section, report),
        signing: signing(section, endpoint_url.as_deref(), report),
        endpoint_url,
        warm_up: warm_up(section, report).unwrap_or_default(),
        max_parts: section
            .count("max_parts", MAX_PARTS, report)
            .unwrap_or(default.max_parts),
        parallel_parts: section
            .count("parallel_parts", MAX_PARALLEL_PARTS, report)
            .unwrap_or(default.parallel_parts),
        max_retry_pause: section
            .milliseconds("max_retry_pause", 1..=MINUTE, report)
            .unwrap_or(default.max_retry_pause),
    }
}

fn endpoint_url(section: &Section<'_>, report: &mut Report) -> Option<String> {
    let entry = section.find(&["endpoint_url"])?;
    entry.url(is_url, "a URL, http://HOST:PORT or https://HOST", report)
}

fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        uri.host().is_some_and(|host| !host.is_empty())
            && matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.query().is_none()
    })
}

fn region(section: &Section<'_>, report: &mut Report) -> Option<String> {
    let entry = section.find(&["region"])?;
    let is_region = |text: &String| {
        text.contains('-')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let region = entry.node.text().filter(is_region);
    region.or_else(|| entry.invalid("the name of an AWS region, like eu-west-1", report))
}

fn signing(section: &Section<'_>, endpoint_url: Option<&str>, report: &mut Report) -> Signing {
    if section.optional_flag(&["sign"], report) != Some(false) {
        return Signing::Signed;
    }
    if let (None, Some(entry)) = (endpoint_url, section.find(&["sign"])) {
        report.error(
            &entry.place,
            "`sign: false` without `endpoint_url`",
            "`endpoint_url` too, for an emulator: AWS accepts only signed invocations",
        );
    }
    Signing::Unsigned
}

fn warm_up(section: &Section<'_>, report: &mut Report) -> Option<WarmUp> {
    let entry = section.find(&["warm_up"])?;
    match entry.node.text()?.as_str() {
        "none" => Some(WarmUp::None),
        "connect" => Some(WarmUp::Connect),
        "dry_run" => Some(WarmUp::DryRun),
        _ => entry.invalid("none, connect or dry_run", report),
    }
}

const MAX_PARTS: i64 = 1000;

const MAX_PARALLEL_PARTS: i64 = 100;

/// Milliseconds.
const MINUTE: i64 = 60_000;
