//! Answers become JSON: in HTTP's form, in WebSocket's, or as the request that failed.

use std::sync::Arc;

use super::{
    write_document,
    write_status::{null, route, status_or_null},
    writer::{Form, WriteError, Writer},
};
use crate::{
    DataRequest,
    docarray::DocumentProto,
    document,
    jina::{HeaderProto, StatusProto, status_proto::ExceptionProto, status_proto::StatusCode},
};

/// An answer as the body of an HTTP response. The documents are decoded as a Jina Gateway does it
/// ([`crate::normalise`]), which gives an id to those without.
///
/// # Errors
/// When documents or parameters cannot be decoded, or an array cannot be written.
pub fn write_http(answer: &DataRequest) -> Result<Vec<u8>, WriteError> {
    write(answer, Form::Http).map(Writer::into_bytes)
}

/// An answer as a text frame of a WebSocket.
///
/// # Errors
/// As [`write_http`].
pub fn write_websocket(answer: &DataRequest) -> Result<String, WriteError> {
    write(answer, Form::WebSocket).map(Writer::into_string)
}

fn write(answer: &DataRequest, form: Form) -> Result<Writer, WriteError> {
    let documents = settled_documents(answer)?;
    let mut out = Writer::new(form);
    out.object(|out| {
        header(&answer.header, out)?;
        parameters(answer, out)?;
        routes(answer, out)?;
        out.key("data");
        write_document::documents(&documents, out)
    })?;
    Ok(out)
}

fn settled_documents(answer: &DataRequest) -> Result<Arc<Vec<DocumentProto>>, WriteError> {
    let mut documents = answer.documents.decode()?;
    // Decoded from bytes they are nobody else's, and nothing is cloned.
    document::settle_all(Arc::make_mut(&mut documents).as_mut_slice());
    Ok(documents)
}

fn header(header: &HeaderProto, out: &mut Writer) -> Result<(), WriteError> {
    out.key("header");
    out.object(|out| match out.form() {
        Form::Http => {
            out.key("requestId");
            out.text(&header.request_id);
            status_or_null(header.status.as_ref(), out)?;
            out.key("execEndpoint");
            out.text(header.exec_endpoint.as_deref().unwrap_or_default());
            out.key("targetExecutor");
            out.text(header.target_executor.as_deref().unwrap_or_default());
            Ok(())
        }
        Form::WebSocket => websocket_header(header, out),
    })
}

fn websocket_header(header: &HeaderProto, out: &mut Writer) -> Result<(), WriteError> {
    if !header.request_id.is_empty() {
        out.key("request_id");
        out.text(&header.request_id);
    }
    status_or_null(header.status.as_ref(), out)?;
    if let Some(endpoint) = &header.exec_endpoint {
        out.key("exec_endpoint");
        out.text(endpoint);
    }
    if let Some(target) = &header.target_executor {
        out.key("target_executor");
        out.text(target);
    }
    if let Some(timeout) = header.timeout {
        out.key("timeout");
        out.integer(timeout);
    }
    Ok(())
}

fn parameters(answer: &DataRequest, out: &mut Writer) -> Result<(), WriteError> {
    if !answer.parameters.is_present() {
        null("parameters", out);
        return Ok(());
    }
    let held = answer.parameters.decode();
    out.key("parameters");
    write_document::structure(&held.map_err(WriteError::Parameters)?, out)
}

fn routes(answer: &DataRequest, out: &mut Writer) -> Result<(), WriteError> {
    if answer.routes.is_empty() {
        null("routes", out);
        return Ok(());
    }
    out.key("routes");
    out.list(&answer.routes, |out, held| route(held, out))
}

/// The body with which Jina answers 503 and 504 over HTTP: the request as it was sent, and in its
/// header what went wrong.
///
/// Whole numbers among the parameters are written as integers, as they most probably were sent. The
/// documents are those of `sent`, which have ids; if they cannot be written, `data` is `null`.
#[must_use]
pub fn write_failure(sent: &DataRequest, description: &str) -> Vec<u8> {
    let header = failed_header(sent, description);
    write_sent(&header, Some(sent))
        .or_else(|_| write_sent(&header, None))
        .map(Writer::into_bytes)
        .unwrap_or_default()
}

fn failed_header(sent: &DataRequest, description: &str) -> HeaderProto {
    HeaderProto {
        request_id: sent.header.request_id.clone(),
        status: Some(StatusProto {
            code: StatusCode::Error.into(),
            description: description.to_owned(),
            exception: Some(ExceptionProto {
                name: "<class 'jina.excepts.InternalNetworkError'>".to_owned(),
                ..Default::default()
            }),
        }),
        ..Default::default()
    }
}

fn write_sent(failed: &HeaderProto, sent: Option<&DataRequest>) -> Result<Writer, WriteError> {
    let mut out = Writer::with_integers(Form::Http);
    out.object(|out| {
        header(failed, out)?;
        match sent {
            Some(sent) => parameters(sent, out)?,
            None => null("parameters", out),
        }
        null("routes", out);
        match sent.filter(|sent| sent.documents.is_present()) {
            Some(sent) => {
                out.key("data");
                write_document::documents(&settled_documents(sent)?, out)
            }
            None => {
                null("data", out);
                Ok(())
            }
        }
    })?;
    Ok(out)
}
