//! Writes statuses, routes and the Gateway's `/status` information as JSON.

use std::collections::BTreeMap;

use super::{
    write_error::WriteError,
    writer::{JsonStyle, Writer},
};
use crate::{
    Timestamp,
    jina::{JinaInfoProto, RouteProto, StatusProto, status_proto::ExceptionProto},
    python,
};

/// Writes a status, the response to `/dry_run`. HTTP has all keys, WebSocket only those that are set.
#[must_use]
pub fn write_status(status: &StatusProto, style: JsonStyle) -> String {
    let mut out = Writer::new(style);
    // The only error is nesting too deep, which a status never is.
    let _ = write_status_object(status, &mut out);
    out.into_string()
}

/// Writes the response to `/status`: versions and environment.
#[must_use]
pub fn write_info(info: &JinaInfoProto) -> Vec<u8> {
    let mut out = Writer::new(JsonStyle::Http);
    // The only error is nesting too deep, as above.
    let _ = out.write_object(|out| {
        out.write_key("jina");
        write_string_map(&info.jina, out)?;
        out.write_key("envs");
        write_string_map(&info.envs, out)
    });
    out.into_bytes()
}

fn write_string_map(map: &BTreeMap<String, String>, out: &mut Writer) -> Result<(), WriteError> {
    out.write_object(|out| {
        for (key, value) in map {
            out.write_escaped_key(key);
            out.write_text(value);
        }
        Ok(())
    })
}

fn write_status_object(status: &StatusProto, out: &mut Writer) -> Result<(), WriteError> {
    let write_all = out.style() == JsonStyle::Http;
    out.write_object(|out| {
        if write_all || status.code != 0 {
            out.write_key("code");
            out.write_integer(status.code);
        }
        write_text_field("description", &status.description, out);
        match &status.exception {
            Some(exception) => {
                out.write_key("exception");
                write_exception(exception, out)
            }
            None => {
                write_unset("exception", out);
                Ok(())
            }
        }
    })
}

fn write_exception(exception: &ExceptionProto, out: &mut Writer) -> Result<(), WriteError> {
    out.write_object(|out| {
        write_text_field("name", &exception.name, out);
        write_text_list_field("args", &exception.args, out)?;
        write_text_list_field("stacks", &exception.stacks, out)?;
        write_text_field("executor", &exception.executor, out);
        Ok(())
    })
}

pub(super) fn write_route(route: &RouteProto, out: &mut Writer) -> Result<(), WriteError> {
    out.write_object(|out| {
        write_text_field("executor", &route.executor, out);
        write_time_field(("startTime", "start_time"), route.start_time, out);
        write_time_field(("endTime", "end_time"), route.end_time, out);
        write_status_field(route.status.as_ref(), out)
    })
}

pub(super) fn write_status_field(
    status: Option<&StatusProto>,
    out: &mut Writer,
) -> Result<(), WriteError> {
    match status {
        Some(status) => {
            out.write_key("status");
            write_status_object(status, out)
        }
        None => {
            write_unset("status", out);
            Ok(())
        }
    }
}

/// Writes a text field; WebSocket omits an empty one.
fn write_text_field(key: &str, value: &str, out: &mut Writer) {
    if out.style() == JsonStyle::Http || !value.is_empty() {
        out.write_key(key);
        out.write_text(value);
    }
}

fn write_text_list_field(key: &str, values: &[String], out: &mut Writer) -> Result<(), WriteError> {
    if out.style() == JsonStyle::WebSocket && values.is_empty() {
        return Ok(());
    }
    out.write_key(key);
    out.write_list(values, |out, value| {
        out.write_text(value);
        Ok(())
    })
}

/// Writes an unset field: `null` in HTTP's style, nothing in WebSocket's.
pub(super) fn write_unset(key: &str, out: &mut Writer) {
    if out.style() == JsonStyle::Http {
        out.write_key(key);
        out.write_null();
    }
}

fn write_time_field((camel, snake): (&str, &str), time: Option<Timestamp>, out: &mut Writer) {
    match time.filter(is_valid_timestamp) {
        Some(time) if out.style() == JsonStyle::Http => {
            out.write_key(camel);
            out.write_plain(&(python::isoformat(time) + "+00:00"));
        }
        Some(time) => {
            out.write_key(snake);
            out.write_plain(&time.to_string());
        }
        None => write_unset(camel, out),
    }
}

/// Whether the time is in the years 1 to 9999, as a protobuf `Timestamp` requires.
fn is_valid_timestamp(time: &Timestamp) -> bool {
    let seconds = -62_135_596_800..=253_402_300_799;
    seconds.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos)
}
