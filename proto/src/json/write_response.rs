//! Writes responses as JSON: in HTTP's style, in WebSocket's, or as an echo of a failed request.

use std::sync::Arc;

use super::{
    write_document::{write_documents, write_struct},
    write_error::WriteError,
    write_status::{write_route, write_status_field, write_unset},
    writer::{JsonStyle, Writer},
};
use crate::{
    DataRequest,
    docarray::DocumentProto,
    document,
    jina::{HeaderProto, StatusProto, status_proto::ExceptionProto, status_proto::StatusCode},
};

/// Writes a response as the body of an HTTP response. The documents are normalized as a Jina Gateway does
/// on decoding ([`crate::normalize`]), which fills in missing ids.
///
/// # Errors
/// When documents or parameters cannot be decoded, or an array cannot be written.
pub fn write_http(response: &DataRequest) -> Result<Vec<u8>, WriteError> {
    write_response(response, Writer::new(JsonStyle::Http)).map(Writer::into_bytes)
}

/// Writes a response as a text frame of a WebSocket.
///
/// # Errors
/// As [`write_http`].
pub fn write_websocket(response: &DataRequest) -> Result<String, WriteError> {
    write_response(response, Writer::new(JsonStyle::WebSocket)).map(Writer::into_string)
}

/// Writes a response as [`write_websocket`] does, but leaves characters outside of ASCII unescaped: where the size of a
/// message is limited, an escape takes two to three times the bytes.
///
/// # Errors
/// As [`write_http`].
pub fn write_websocket_unescaped(response: &DataRequest) -> Result<String, WriteError> {
    write_response(response, Writer::unescaped(JsonStyle::WebSocket)).map(Writer::into_string)
}

fn write_response(response: &DataRequest, mut out: Writer) -> Result<Writer, WriteError> {
    let documents = normalized_documents(response)?;
    out.write_object(|out| {
        write_header(&response.header, out)?;
        write_parameters(response, out)?;
        write_routes(response, out)?;
        out.write_key("data");
        write_documents(&documents, out)
    })?;
    Ok(out)
}

fn normalized_documents(request: &DataRequest) -> Result<Arc<Vec<DocumentProto>>, WriteError> {
    let mut documents = request.documents.decode()?;
    // Documents just decoded are not shared, so that this clones nothing.
    document::normalize_decoded(Arc::make_mut(&mut documents).as_mut_slice());
    Ok(documents)
}

fn write_header(header: &HeaderProto, out: &mut Writer) -> Result<(), WriteError> {
    out.write_key("header");
    out.write_object(|out| match out.style() {
        JsonStyle::Http => {
            out.write_key("requestId");
            out.write_text(&header.request_id);
            write_status_field(header.status.as_ref(), out)?;
            out.write_key("execEndpoint");
            out.write_text(header.exec_endpoint.as_deref().unwrap_or_default());
            out.write_key("targetExecutor");
            out.write_text(header.target_executor.as_deref().unwrap_or_default());
            Ok(())
        }
        JsonStyle::WebSocket => write_websocket_header(header, out),
    })
}

fn write_websocket_header(header: &HeaderProto, out: &mut Writer) -> Result<(), WriteError> {
    if !header.request_id.is_empty() {
        out.write_key("request_id");
        out.write_text(&header.request_id);
    }
    write_status_field(header.status.as_ref(), out)?;
    if let Some(endpoint) = &header.exec_endpoint {
        out.write_key("exec_endpoint");
        out.write_text(endpoint);
    }
    if let Some(target) = &header.target_executor {
        out.write_key("target_executor");
        out.write_text(target);
    }
    if let Some(timeout) = header.timeout {
        out.write_key("timeout");
        out.write_integer(timeout);
    }
    Ok(())
}

fn write_parameters(request: &DataRequest, out: &mut Writer) -> Result<(), WriteError> {
    if !request.parameters.is_present() {
        write_unset("parameters", out);
        return Ok(());
    }
    let parameters = request.parameters.decode();
    out.write_key("parameters");
    write_struct(&parameters.map_err(WriteError::Parameters)?, out)
}

fn write_routes(response: &DataRequest, out: &mut Writer) -> Result<(), WriteError> {
    if response.routes.is_empty() {
        write_unset("routes", out);
        return Ok(());
    }
    out.write_key("routes");
    out.write_list(&response.routes, |out, route| write_route(route, out))
}

/// Writes the body of Jina's HTTP responses 503 and 504: the request, with the error in its header.
///
/// Whole numbers in the parameters are written as integers, because that is most probably what the client
/// sent. If the documents cannot be written, `data` is `null`.
#[must_use]
pub fn write_failed_request(request: &DataRequest, description: &str) -> Vec<u8> {
    let header = failed_header(request, description);
    write_echo(&header, Some(request))
        .or_else(|_| write_echo(&header, None))
        .map(Writer::into_bytes)
        .unwrap_or_default()
}

fn failed_header(request: &DataRequest, description: &str) -> HeaderProto {
    HeaderProto {
        request_id: request.header.request_id.clone(),
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

/// Writes the request under the header of its failure; `None` leaves parameters and documents out.
fn write_echo(failed: &HeaderProto, request: Option<&DataRequest>) -> Result<Writer, WriteError> {
    let mut out = Writer::with_integers(JsonStyle::Http);
    out.write_object(|out| {
        write_header(failed, out)?;
        match request {
            Some(request) => write_parameters(request, out)?,
            None => write_unset("parameters", out),
        }
        write_unset("routes", out);
        match request.filter(|request| request.documents.is_present()) {
            Some(request) => {
                out.write_key("data");
                write_documents(&normalized_documents(request)?, out)
            }
            None => {
                write_unset("data", out);
                Ok(())
            }
        }
    })?;
    Ok(out)
}
