//! Statuses, routes and what a Gateway says of itself become JSON.

use std::collections::BTreeMap;

use super::writer::{Form, WriteError, Writer};
use crate::{
    Timestamp,
    jina::{JinaInfoProto, RouteProto, StatusProto, status_proto::ExceptionProto},
    python,
};

/// A status, as `/dry_run` answers it: all keys over HTTP; over WebSocket those that are set.
#[must_use]
pub fn write_status(held: &StatusProto, form: Form) -> String {
    let mut out = Writer::new(form);
    // Only what is nested deep is an error, which a status is not.
    let _ = status(held, &mut out);
    out.into_string()
}

/// What `/status` answers: versions and environment.
#[must_use]
pub fn write_info(info: &JinaInfoProto) -> Vec<u8> {
    let mut out = Writer::new(Form::Http);
    // As above.
    let _ = out.object(|out| {
        out.key("jina");
        strings(&info.jina, out)?;
        out.key("envs");
        strings(&info.envs, out)
    });
    out.into_bytes()
}

fn strings(held: &BTreeMap<String, String>, out: &mut Writer) -> Result<(), WriteError> {
    out.object(|out| {
        for (key, value) in held {
            out.text_key(key);
            out.text(value);
        }
        Ok(())
    })
}

pub(super) fn status(held: &StatusProto, out: &mut Writer) -> Result<(), WriteError> {
    let all = out.form() == Form::Http;
    out.object(|out| {
        if all || held.code != 0 {
            out.key("code");
            out.integer(held.code);
        }
        text("description", &held.description, out);
        match &held.exception {
            Some(held) => {
                out.key("exception");
                exception(held, out)
            }
            None => {
                null("exception", out);
                Ok(())
            }
        }
    })
}

fn exception(held: &ExceptionProto, out: &mut Writer) -> Result<(), WriteError> {
    out.object(|out| {
        text("name", &held.name, out);
        texts("args", &held.args, out)?;
        texts("stacks", &held.stacks, out)?;
        text("executor", &held.executor, out);
        Ok(())
    })
}

pub(super) fn route(held: &RouteProto, out: &mut Writer) -> Result<(), WriteError> {
    out.object(|out| {
        text("executor", &held.executor, out);
        time(("startTime", "start_time"), held.start_time, out);
        time(("endTime", "end_time"), held.end_time, out);
        status_or_null(held.status.as_ref(), out)
    })
}

pub(super) fn status_or_null(
    held: Option<&StatusProto>,
    out: &mut Writer,
) -> Result<(), WriteError> {
    match held {
        Some(held) => {
            out.key("status");
            status(held, out)
        }
        None => {
            null("status", out);
            Ok(())
        }
    }
}

/// A text; over WebSocket an empty one is left out.
fn text(key: &str, value: &str, out: &mut Writer) {
    if out.form() == Form::Http || !value.is_empty() {
        out.key(key);
        out.text(value);
    }
}

fn texts(key: &str, values: &[String], out: &mut Writer) -> Result<(), WriteError> {
    if out.form() == Form::WebSocket && values.is_empty() {
        return Ok(());
    }
    out.key(key);
    out.list(values, |out, value| {
        out.text(value);
        Ok(())
    })
}

/// What is unset: `null` over HTTP, nothing over WebSocket.
pub(super) fn null(key: &str, out: &mut Writer) {
    if out.form() == Form::Http {
        out.key(key);
        out.null();
    }
}

fn time((camel, snake): (&str, &str), held: Option<Timestamp>, out: &mut Writer) {
    match held.filter(has_a_date) {
        Some(held) if out.form() == Form::Http => {
            out.key(camel);
            out.plain(&(python::isoformat(held) + "+00:00"));
        }
        Some(held) => {
            out.key(snake);
            out.plain(&held.to_string());
        }
        None => null(camel, out),
    }
}

/// Whether it lies in the years 1 to 9999, as those of a protobuf `Timestamp` have to.
fn has_a_date(time: &Timestamp) -> bool {
    let seconds = -62_135_596_800..=253_402_300_799;
    seconds.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos)
}
