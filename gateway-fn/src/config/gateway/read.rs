//! The Gateway's keys to its settings.

use std::num::NonZeroUsize;
use std::time::Duration;

use flowgate_proto::Compression;

use super::{GatewayConfig, Limits, Retries, TlsFiles, http, listeners};
use crate::config::fault::Report;
use crate::config::section::{Commas, Layer, Section};

/// Reads all of the Gateway's settings. What is wrong goes to the report and leaves the default behind.
pub(in crate::config) fn read(
    section: &Section<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> GatewayConfig {
    warn_of_what_is_not_there(section, report);
    GatewayConfig {
        host: host(section, env, report),
        listeners: listeners::read(section, report),
        prefetch: prefetch(section, report),
        timeout_send: timeout_send(section, report),
        retries: retries(section, report),
        compression: compression(section, report).unwrap_or_default(),
        http: http::read(section, report),
        tls: tls(section, report),
        limits: limits(section, report),
        shutdown_timeout: shutdown_timeout(section, report),
        tls_roots: env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
            .filter(|path| !path.is_empty())
            .map(Into::into),
        internal_addresses_in_errors: section
            .maybe_flag(&["internal_addresses_in_errors"], report)
            .unwrap_or(true),
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
pub(in crate::config) fn default_host(env: &dyn Fn(&str) -> Option<String>) -> String {
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
        i64::MIN..=i64::MAX,
        "milliseconds, a whole number",
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
            "none, gzip or deflate (or NoCompression, Gzip, Deflate)",
            report,
        )
    })
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
    report.fault(
        &place,
        format!("{given} without {absent}"),
        "both, or neither for no TLS",
    );
    None
}

fn limits(section: &Section<'_>, report: &mut Report) -> Limits {
    let default = Limits {
        max_message_bytes: grpc_limit(section, report),
        ..Limits::default()
    };
    let Some((place, entries)) = section.map(&["limits"], report) else {
        return default;
    };
    let limits = Section::new([Layer::of_file(place, entries)]);
    let mut number = |name: &str, default: usize| {
        let found = limits.whole(&[name], 1..=i64::MAX, "a whole number from 1", report);
        found
            .and_then(|found| usize::try_from(found).ok())
            .unwrap_or(default)
    };
    Limits {
        max_message_bytes: number("max_message_bytes", default.max_message_bytes),
        max_concurrent_requests: number("max_concurrent_requests", default.max_concurrent_requests),
        max_connections: number("max_connections", default.max_connections),
        connections_per_replica: NonZeroUsize::new(number(
            "connections_per_replica",
            default.connections_per_replica.get(),
        ))
        .unwrap_or(default.connections_per_replica),
    }
}

/// Jina's way to set the size of messages, where -1 is no limit.
fn grpc_limit(section: &Section<'_>, report: &mut Report) -> usize {
    let default = Limits::default().max_message_bytes;
    let Some((place, entries)) = section.map(&["grpc_server_options"], report) else {
        return default;
    };
    let options = Section::new([Layer::of_file(place, entries)]);
    let found = options.whole(
        &["grpc.max_receive_message_length"],
        -1..=i64::MAX,
        "bytes, or -1 for no limit",
        report,
    );
    found.map_or(default, |bytes| {
        usize::try_from(bytes).unwrap_or(usize::MAX)
    })
}

fn shutdown_timeout(section: &Section<'_>, report: &mut Report) -> Duration {
    let found = section.whole(
        &["shutdown_timeout"],
        0..=86_400_000,
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
    for name in ["monitoring", "tracing", "metrics"] {
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
}

const ANYWHERE: &str = "0.0.0.0";
