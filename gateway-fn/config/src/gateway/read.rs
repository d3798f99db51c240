//! The Gateway's keys to its settings.

use std::{num::NonZeroUsize, time::Duration};

use flowgate_proto::{
    Compression,
    limits::{MAX_INVOKE_PAYLOAD_BYTES, MAX_STREAMED_RESPONSE_BYTES},
};

use super::{
    FunctionConfig, GatewayConfig, Limits, MAX_MILLISECONDS as DAY, Retries, TlsFiles, auth,
    function, http, invoke, listeners,
};
use crate::{
    address::Address,
    diagnostic::Report,
    executor::ExecutorConfig,
    known,
    node::{Node, Value},
    section::{Commas, Layer, Section},
};

/// Reads all of the Gateway's settings. What is wrong goes to the report and leaves the default behind.
pub(crate) fn read(
    section: &Section<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> GatewayConfig {
    warn_of_what_is_not_there(section, report);
    let is_function = env("AWS_LAMBDA_FUNCTION_NAME").is_some();
    let function = function::read(section, report);
    GatewayConfig {
        host: host(section, env, report),
        listeners: listeners::read(section, report),
        prefetch: prefetch(section, report),
        timeout_send: timeout_send(section, report),
        retries: retries(section, report),
        compression: compression(section, report).unwrap_or_default(),
        http: http::read(section, report),
        tls: tls(section, report),
        limits: limits(
            section,
            most_by_default(is_function.then_some(&function), env),
            report,
        ),
        shutdown_timeout: shutdown_timeout(section, report),
        tls_roots: env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
            .filter(|path| !path.is_empty())
            .map(Into::into),
        internal_addresses_in_errors: section
            .maybe_flag(&["internal_addresses_in_errors"], report)
            .unwrap_or(!is_function),
        invoke: invoke::read(section, report),
        function,
        auth: auth::read(section, report),
    }
}

fn host(
    section: &Section<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> String {
    let words = section.words(&["host", "host_in"], Commas::Split, report);
    let Some(word) = words.first() else {
        return default_host(env);
    };
    let is_name = !word.text.is_empty()
        && word
            .text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte));
    if !is_name {
        return word
            .entry
            .wrong("an IP address or host name to listen on", report)
            .unwrap_or_default();
    }
    // Jina's exports to Kubernetes say `--host 0`.
    if word.text == "0" {
        ANYWHERE.to_owned()
    } else {
        word.text.clone()
    }
}

/// Jina's default for every host.
pub(crate) fn default_host(env: &dyn Fn(&str) -> Option<String>) -> String {
    env("JINA_DEFAULT_HOST")
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| ANYWHERE.to_owned())
}

fn prefetch(section: &Section<'_>, report: &mut Report) -> Option<NonZeroUsize> {
    match section.whole(
        &["prefetch"],
        0..=i64::MAX,
        "a whole number, 0 for no limit",
        report,
    ) {
        Some(number) => usize::try_from(number).ok().and_then(NonZeroUsize::new),
        None => GatewayConfig::default().prefetch,
    }
}

/// Jina's documents say that -1 is no timeout.
fn timeout_send(section: &Section<'_>, report: &mut Report) -> Option<Duration> {
    let milliseconds = section.whole(
        &["timeout_send"],
        i64::MIN..=DAY,
        "milliseconds, at most a day (86400000), or -1 for no limit",
        report,
    )?;
    u64::try_from(milliseconds)
        .ok()
        .filter(|number| *number > 0)
        .map(Duration::from_millis)
}

fn retries(section: &Section<'_>, report: &mut Report) -> Retries {
    let expected = "a whole number, -1 for the default";
    let number = section.whole(
        &["retries"],
        i64::MIN..=i64::from(u32::MAX),
        expected,
        report,
    );
    number
        .and_then(|number| u32::try_from(number).ok())
        .map_or(Retries::Default, Retries::Exactly)
}

fn compression(section: &Section<'_>, report: &mut Report) -> Option<Compression> {
    let entry = section.find(&["compression"])?;
    let parsed = entry.node.text().and_then(|name| name.parse().ok());
    parsed.or_else(|| {
        entry.wrong(
            "none, gzip, deflate (or NoCompression, Gzip, Deflate) or zstd",
            report,
        )
    })
}

/// What the settings alone do not tell: `zstd` is not what an Executor behind gRPC gets.
pub(crate) fn warn_of_zstd(
    section: &Section<'_>,
    gateway: &GatewayConfig,
    executors: &[ExecutorConfig],
    report: &mut Report,
) {
    let mut addresses = executors.iter().flat_map(|executor| &executor.addresses);
    let is_grpc = addresses.any(|address| matches!(address, Address::Grpc { .. }));
    if let (Compression::Zstd, true, Some(entry)) =
        (gateway.compression, is_grpc, section.find(&["compression"]))
    {
        report.warn(
            &entry.place,
            "zstd in a Flow with Executors behind gRPC",
            "gzip, which those are sent all the same: gRPC peers of Jina know no zstd",
        );
    }
}

fn tls(section: &Section<'_>, report: &mut Report) -> Option<TlsFiles> {
    let certfile = section.text(&["ssl_certfile"], report);
    let keyfile = section.text(&["ssl_keyfile"], report);
    let (given, absent) = match (certfile, keyfile) {
        (Some(certfile), Some(keyfile)) => {
            return Some(TlsFiles {
                certfile: certfile.into(),
                keyfile: keyfile.into(),
            });
        }
        (Some(_), None) => ("ssl_certfile", "ssl_keyfile"),
        (None, Some(_)) => ("ssl_keyfile", "ssl_certfile"),
        (None, None) => return None,
    };
    let place = section.find(&[given])?.place;
    report.error(
        &place,
        format!("{given} without {absent}"),
        "both, or neither for no TLS",
    );
    None
}

/// What one message may have by default. What a Lambda function gives back is bounded, and its memory small, so there
/// a message is ten times a payload: what a compressed one may hold, and what several nodes make of it on the way; but
/// no more than the share of the memory that an Executor's function gives its requests.
fn most_by_default(
    function: Option<&FunctionConfig>,
    env: &dyn Fn(&str) -> Option<String>,
) -> usize {
    let Some(function) = function else {
        return Limits::default().max_message_bytes;
    };
    let most = match function.response_streaming {
        true => MAX_STREAMED_RESPONSE_BYTES,
        false => 10 * MAX_INVOKE_PAYLOAD_BYTES,
    };
    let number = |name: &str| {
        env(name)?
            .parse::<usize>()
            .ok()
            .filter(|number| *number > 0)
    };
    let Some(megabytes) = number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE") else {
        return most;
    };
    let at_once = number("AWS_LAMBDA_MAX_CONCURRENCY").unwrap_or(1);
    let bytes = megabytes.saturating_mul(1 << 20);
    most.min(bytes / 100 * MEMORY_PERCENT / at_once).max(1)
}

/// Of a function's memory, for one message: it is there as a payload, as a message, and as documents of two to three
/// times the size.
const MEMORY_PERCENT: usize = 12;

fn limits(section: &Section<'_>, max_message_bytes: usize, report: &mut Report) -> Limits {
    let default = Limits {
        max_message_bytes: grpc_limit(section, max_message_bytes, report),
        ..Limits::default()
    };
    let Some((place, entries)) = section.map(&["limits"], report) else {
        return default;
    };
    known::check_own(&place, entries, LIMITS, report);
    let limits = Section::new([Layer::of_file(place, entries)]);
    let mut number = |name: &str, most: i64, default: usize| {
        let expected = format!("a whole number from 1 to {most}");
        let found = limits.whole(&[name], 1..=most, &expected, report);
        found
            .and_then(|found| usize::try_from(found).ok())
            .unwrap_or(default)
    };
    let connections_per_replica = number(
        "connections_per_replica",
        MAX_CONNECTIONS_PER_REPLICA,
        default.connections_per_replica.get(),
    );
    Limits {
        max_message_bytes: number(
            "max_message_bytes",
            MAX_MESSAGE_BYTES,
            default.max_message_bytes,
        ),
        max_concurrent_requests: number(
            "max_concurrent_requests",
            MAX_CONCURRENCY,
            default.max_concurrent_requests,
        ),
        max_connections: number("max_connections", MAX_CONCURRENCY, default.max_connections),
        connections_per_replica: NonZeroUsize::new(connections_per_replica)
            .unwrap_or(default.connections_per_replica),
    }
}

/// Jina's way to set the size of messages, where -1 is no limit but that of gRPC itself.
fn grpc_limit(section: &Section<'_>, default: usize, report: &mut Report) -> usize {
    let Some((place, entries)) = section.map(&["grpc_server_options"], report) else {
        return default;
    };
    for (key, _) in entries.iter().filter(|(key, _)| key.text != MAX_RECEIVE) {
        report.warn(
            &place.key(&key.text, key.line),
            "an option without effect",
            format!("{MAX_RECEIVE}, the one that counts here"),
        );
    }
    let options = Section::new([Layer::of_file(place, entries)]);
    let found = options.whole(
        &[MAX_RECEIVE],
        -1..=i64::MAX,
        "bytes, or -1 for no limit",
        report,
    );
    found.map_or(default, |bytes| {
        let bytes = if bytes < 0 { MAX_MESSAGE_BYTES } else { bytes };
        usize::try_from(bytes.min(MAX_MESSAGE_BYTES)).unwrap_or(usize::MAX)
    })
}

fn shutdown_timeout(section: &Section<'_>, report: &mut Report) -> Duration {
    let found = section.whole(
        &["shutdown_timeout"],
        0..=DAY,
        "milliseconds, at most a day",
        report,
    );
    found
        .and_then(|milliseconds| u64::try_from(milliseconds).ok())
        .map_or_else(
            || GatewayConfig::default().shutdown_timeout,
            Duration::from_millis,
        )
}

/// What a person has turned on and will miss is better said at start.
fn warn_of_what_is_not_there(section: &Section<'_>, report: &mut Report) {
    for name in [
        "monitoring",
        "tracing",
        "metrics",
        "expose_graphql_endpoint",
    ] {
        if section.flag(&[name], report)
            && let Some(entry) = section.find(&[name])
        {
            report.warn(
                &entry.place,
                format!("{name} turned on"),
                "it off: this Gateway does not have it yet",
            );
        }
    }
    if section.flag(&["proxy"], report)
        && let Some(entry) = section.find(&["proxy"])
    {
        report.warn(
            &entry.place,
            "proxy turned on",
            "it off: this Gateway connects to its Executors without a proxy",
        );
    }
    if let Some(entry) = section.find(&["uvicorn_kwargs"])
        && !says_nothing(entry.node)
    {
        report.warn(
            &entry.place,
            "uvicorn_kwargs",
            "none: no uvicorn runs here, so they have no effect",
        );
    }
}

/// An empty map, as Jina's exports have it too.
fn says_nothing(kwargs: &Node) -> bool {
    match &kwargs.value {
        Value::Map(entries) => entries.is_empty(),
        Value::List(items) => items.iter().all(says_nothing),
        Value::Text(text) => text == "{}",
        Value::Null => true,
        Value::Bool(_) | Value::Whole(_) | Value::Real(_) => false,
    }
}

const ANYWHERE: &str = "0.0.0.0";

/// The length of a gRPC message travels in four bytes.
const MAX_MESSAGE_BYTES: i64 = u32::MAX as i64;

/// More than one process has memory and open files for.
const MAX_CONCURRENCY: i64 = 1_000_000;

/// Each is made ready at start, and one carries hundreds of requests.
const MAX_CONNECTIONS_PER_REPLICA: i64 = 64;

const LIMITS: &[&str] = &[
    "max_message_bytes",
    "max_concurrent_requests",
    "max_connections",
    "connections_per_replica",
];

const MAX_RECEIVE: &str = "grpc.max_receive_message_length";
