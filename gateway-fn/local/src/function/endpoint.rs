//! Invokes a function at another Lambda Invoke endpoint over plain HTTP, unsigned, which local endpoints accept.

use std::error::Error;

use bytes::Bytes;
use flowgate_proto::limits::MAX_INVOKE_PAYLOAD_BYTES;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::invocation::{InvokeError, InvokeResult};
use crate::{aws::TRACE_HEADER, server};

/// A function at another endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    authority: String,
    path: String,
}

impl Endpoint {
    /// Returns the endpoint for a URL that `Options` has checked.
    pub(super) fn new(url: &str, function: &str) -> Self {
        let uri: Uri = url.parse().unwrap_or_default();
        let prefix = uri.path().trim_end_matches('/');
        Self {
            authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
            path: format!("{prefix}/2015-03-31/functions/{function}/invocations"),
        }
    }

    pub(super) async fn invoke(
        &self,
        payload: Bytes,
        trace: &str,
    ) -> Result<InvokeResult, InvokeError> {
        let response = self.post(payload, trace).await;
        let response = response.map_err(InvokeError::Unreachable)?;
        let status = response.status();
        let is_function_error = response.headers().contains_key("x-amz-function-error");
        // Some emulators of Lambda do not enforce the limit themselves.
        let body = server::read_body(response.into_body(), MAX_INVOKE_PAYLOAD_BYTES).await;
        let status_error = |status: StatusCode| InvokeError::EndpointStatus {
            status: status.as_u16(),
        };
        match status {
            StatusCode::OK => match body {
                Err(StatusCode::PAYLOAD_TOO_LARGE) => Ok(InvokeResult::response_too_large()),
                Ok(body) if is_function_error => Ok(InvokeResult::FunctionError(body)),
                Ok(body) => Ok(InvokeResult::Response(body)),
                Err(status) => Err(status_error(status)),
            },
            StatusCode::NOT_FOUND => Err(InvokeError::NotFound),
            StatusCode::TOO_MANY_REQUESTS => Err(InvokeError::Throttled),
            status => Err(status_error(status)),
        }
    }

    async fn post(
        &self,
        payload: Bytes,
        trace: &str,
    ) -> Result<Response<Incoming>, Box<dyn Error + Send + Sync>> {
        let stream = TcpStream::connect(self.authority.as_str()).await?;
        let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-amz-invocation-type", "RequestResponse")
            .header(TRACE_HEADER, trace)
            .body(Full::new(payload))?;
        Ok(client.send_request(request).await?)
    }
}
