//! The keys of `gateway` -> [`GatewayConfig`].

use std::{num::NonZeroUsize, time::Duration};

use flowgate_proto::{
    Compression,
    limits::{MAX_INVOKE_PAYLOAD_BYTES, MAX_STREAMED_RESPONSE_BYTES},
};

use super::{
    FunctionConfig, GatewayConfig, Limits, MAX_MILLISECONDS, Retries, RetryPolicy, TlsRoots, auth,
    function, http, invoke, listeners, tls,
};
use crate::{
    diagnostic::Report,
    section::{Commas, Layer, Section},
};

/// Reads all settings of the Gateway. An invalid one goes to the report, and its default is used.
pub(crate) fn read(
    section: &Section<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> GatewayConfig {
    warn_of_unsupported(section, report);
    let is_function = env("AWS_LAMBDA_FUNCTION_NAME").is_some();
    let function = section
        .subsection("function", report, |section, report| {
            function::read(section, env, report)
        })
        .unwrap_or_else(|| function::defaults(env));
    let max_message_bytes = default_max_message_bytes(is_function.then_some(&function), env);
    GatewayConfig {
        host: host(section, env, report),
        listeners: listeners::read(section, report),
        prefetch: prefetch(section, report),
        timeout_send: timeout_send(section, report),
        retries: retries(section, report),
        retry_policy: retry_policy(section, report).unwrap_or_default(),
        compression: compression(section, report).unwrap_or_default(),
        http: http::read(section, report),
        tls: tls::read(section, report),
        limits: limits(section, max_message_bytes, report),
        shutdown_timeout: section
            .milliseconds("shutdown_timeout", 0..=MAX_MILLISECONDS, report)
            .unwrap_or_else(|| GatewayConfig::default().shutdown_timeout),
        shutdown_delay: section
            .milliseconds("shutdown_delay", 0..=MAX_MILLISECONDS, report)
            .unwrap_or_else(|| default_shutdown_delay(env)),
        keep_alive_timeout: section
            .milliseconds("keep_alive_timeout", 1..=MAX_MILLISECONDS, report)
            .unwrap_or_else(|| GatewayConfig::default().keep_alive_timeout),
        slow_client_timeout: section
            .milliseconds("slow_client_timeout", 1..=MAX_MILLISECONDS, report)
            .unwrap_or_else(|| GatewayConfig::default().slow_client_timeout),
        tls_roots: tls_roots(section, report).unwrap_or(match is_function {
            true => TlsRoots::Bundled,
            false => TlsRoots::System,
        }),
        executor_roots_file: env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
            .filter(|path| !path.is_empty())
            .map(Into::into),
        internal_addresses_in_errors: section
            .optional_flag(&["internal_addresses_in_errors"], report)
            .unwrap_or(!is_function),
        invoke: section
            .subsection("invoke", report, invoke::read)
            .unwrap_or_default(),
        function,
        auth: auth::read(section, report),
    }
}

fn tls_roots(section: &Section<'_>, report: &mut Report) -> Option<TlsRoots> {
    let entry = section.find(&["tls_roots"])?;
    let name = entry.node.text();
    let known = [TlsRoots::System, TlsRoots::Bundled];
    let found = known
        .into_iter()
        .find(|roots| name.as_deref() == Some(roots.name()));
    found.or_else(|| entry.invalid("system or bundled", report))
}

fn host(
    section: &Section<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> String {
    let items = section.items(&["host", "host_in"], Commas::Split, report);
    let Some(item) = items.first() else {
        return default_host(env);
    };
    let is_name = !item.text.is_empty()
        && item
            .text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte));
    if !is_name {
        return item
            .entry
            .invalid("an IP address or host name to listen on", report)
            .unwrap_or_default();
    }
    // Jina's exports to Kubernetes have `--host 0`.
    if item.text == "0" {
        ANYWHERE.to_owned()
    } else {
        item.text.clone()
    }
}

/// Returns Jina's default for every host.
pub(crate) fn default_host(env: &dyn Fn(&str) -> Option<String>) -> String {
    env("JINA_DEFAULT_HOST")
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| ANYWHERE.to_owned())
}

fn default_shutdown_delay(env: &dyn Fn(&str) -> Option<String>) -> Duration {
    // Kubernetes sets this variable in every container.
    match env("KUBERNETES_SERVICE_HOST") {
        Some(_) => Duration::from_secs(5),
        None => Duration::ZERO,
    }
}

fn prefetch(section: &Section<'_>, report: &mut Report) -> Option<NonZeroUsize> {
    match section.integer(
        &["prefetch"],
        0..=i64::MAX,
        "a whole number, 0 for no limit",
        report,
    ) {
        Some(number) => usize::try_from(number).ok().and_then(NonZeroUsize::new),
        None => GatewayConfig::default().prefetch,
    }
}

/// Reads -1 as no timeout, as Jina documents it.
fn timeout_send(section: &Section<'_>, report: &mut Report) -> Option<Duration> {
    let milliseconds = section.integer(
        &["timeout_send"],
        i64::MIN..=MAX_MILLISECONDS,
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
    let number = section.integer(
        &["retries"],
        i64::MIN..=i64::from(u32::MAX),
        expected,
        report,
    );
    number
        .and_then(|number| u32::try_from(number).ok())
        .map_or(Retries::Default, Retries::Exactly)
}

fn retry_policy(section: &Section<'_>, report: &mut Report) -> Option<RetryPolicy> {
    let entry = section.find(&["retry_policy"])?;
    let policies = [RetryPolicy::Safe, RetryPolicy::Jina];
    let text = entry.node.text();
    let named = |policy: &RetryPolicy| text.as_deref() == Some(policy.name());
    policies
        .into_iter()
        .find(named)
        .or_else(|| entry.invalid("safe or jina", report))
}

fn compression(section: &Section<'_>, report: &mut Report) -> Option<Compression> {
    let entry = section.find(&["compression"])?;
    let parsed = entry.node.text().and_then(|name| name.parse().ok());
    parsed.or_else(|| {
        entry.invalid(
            "none, gzip, deflate (or NoCompression, Gzip, Deflate) or zstd",
            report,
        )
    })
}

/// Returns the default for the largest message. A Lambda function returns bounded payloads and has little memory, so
/// there it is ten payloads (a compressed payload may decompress to that, and several nodes may add to it), but no more
/// than the share of the memory that an Executor's function gives its requests.
fn default_max_message_bytes(
    function: Option<&FunctionConfig>,
    env: &dyn Fn(&str) -> Option<String>,
) -> usize {
    let Some(function) = function else {
        return Limits::default().max_message_bytes;
    };
    let default = match function.response_streaming {
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
        return default;
    };
    let concurrency = number("AWS_LAMBDA_MAX_CONCURRENCY").unwrap_or(1);
    let memory = megabytes.saturating_mul(1 << 20);
    default
        .min(memory / 100 * MEMORY_PERCENT / concurrency)
        .max(1)
}

/// The share of a function's memory for one message: it exists as a payload, as a message, and as documents of two to
/// three times the size.
const MEMORY_PERCENT: usize = 12;

fn limits(section: &Section<'_>, max_message_bytes: usize, report: &mut Report) -> Limits {
    let max_message_bytes = grpc_limit(section, max_message_bytes, report);
    let default = Limits {
        max_message_bytes,
        ..Limits::default()
    };
    let read = |limits: &Section<'_>, report: &mut Report| {
        let max_bytes_in_flight = limits.count("max_bytes_in_flight", i64::MAX, report);
        let max_decoded_bytes = limits.count("max_decoded_bytes", MAX_DECODED_BYTES, report);
        let mut count = |name, max, default| limits.count(name, max, report).unwrap_or(default);
        let connections_per_replica = count(
            "connections_per_replica",
            MAX_CONNECTIONS_PER_REPLICA,
            default.connections_per_replica.get(),
        );
        let max_message_bytes = count(
            "max_message_bytes",
            MAX_MESSAGE_BYTES,
            default.max_message_bytes,
        );
        Limits {
            max_message_bytes,
            max_documents: count("max_documents", MAX_DOCUMENTS, default.max_documents),
            max_decoded_bytes,
            max_concurrent_requests: count(
                "max_concurrent_requests",
                MAX_CONCURRENCY,
                default.max_concurrent_requests,
            ),
            max_bytes_in_flight,
            connection_share: count("connection_share", 100, default.connection_share),
            max_unread_bytes: count(
                "max_unread_bytes",
                MAX_MESSAGE_BYTES,
                default.max_unread_bytes,
            ),
            max_connections: count("max_connections", MAX_CONCURRENCY, default.max_connections),
            min_bytes_per_second: min_bytes_per_second(limits, report)
                .unwrap_or(default.min_bytes_per_second),
            connections_per_replica: NonZeroUsize::new(connections_per_replica)
                .unwrap_or(default.connections_per_replica),
        }
    };
    section
        .subsection("limits", report, read)
        .unwrap_or(default)
}

fn min_bytes_per_second(limits: &Section<'_>, report: &mut Report) -> Option<usize> {
    let expected = "bytes from 0 to 1000000000";
    let range = 0..=MAX_MIN_RATE;
    let found = limits.integer(&["min_bytes_per_second"], range, expected, report)?;
    usize::try_from(found).ok()
}

/// Reads Jina's setting for the size of messages, where -1 is no limit except gRPC's own.
fn grpc_limit(section: &Section<'_>, default: usize, report: &mut Report) -> usize {
    let Some((place, entries)) = section.map(&["grpc_server_options"], report) else {
        return default;
    };
    for (key, _) in entries.iter().filter(|(key, _)| key.text != MAX_RECEIVE) {
        report.warn(
            &place.key(&key.text, key.line),
            "an option without effect",
            format!("{MAX_RECEIVE}, the only option with an effect here"),
        );
    }
    let options = Section::new([Layer::of_file(place, entries)]);
    let found = options.integer(
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

/// Warns of features that are turned on and not supported.
fn warn_of_unsupported(section: &Section<'_>, report: &mut Report) {
    for (name, reason) in [
        ("monitoring", NOT_YET),
        ("tracing", NOT_YET),
        ("metrics", NOT_YET),
        ("expose_graphql_endpoint", NOT_YET),
        (
            "proxy",
            "false: this Gateway connects to its Executors without a proxy",
        ),
    ] {
        if section.flag(&[name], report)
            && let Some(entry) = section.find(&[name])
        {
            report.warn(&entry.place, format!("{name} turned on"), reason);
        }
    }
}

const NOT_YET: &str = "false: this Gateway does not support it yet";

const ANYWHERE: &str = "0.0.0.0";

/// gRPC sends the length of a message in four bytes.
const MAX_MESSAGE_BYTES: i64 = u32::MAX as i64;

/// Two bytes of a message are the smallest document, so that no message has more.
const MAX_DOCUMENTS: i64 = u32::MAX as i64;

/// A tebibyte: no machine has as much for one request.
const MAX_DECODED_BYTES: i64 = 1 << 40;

/// A process has no memory and open files for more.
const MAX_CONCURRENCY: i64 = 1_000_000;

/// More than most networks carry.
const MAX_MIN_RATE: i64 = 1_000_000_000;

/// All are opened at start, and one carries hundreds of requests.
const MAX_CONNECTIONS_PER_REPLICA: i64 = 64;

const MAX_RECEIVE: &str = "grpc.max_receive_message_length";
