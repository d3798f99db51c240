//! A Lambda Invoke endpoint -> invocations over plain HTTP, unsigned, as the local ones take them.

use std::error::Error;

use bytes::Bytes;
use flowgate_proto::limits::MAX_INVOKE_PAYLOAD_BYTES;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{InvokeError, Outcome, TRACE_HEADER};
use crate::server;

/// A function somewhere else.
#[derive(Debug)]
pub(crate) struct Endpoint {
    authority: String,
    path: String,
}

impl Endpoint {
    /// The URL has been checked.
    pub(super) fn new(url: &str, function: &str) -> Self {
        let uri: Uri = url.parse().unwrap_or_default();
        let prefix = uri.path().trim_end_matches('/');
        Self {
            authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
            path: format!("{prefix}/2015-03-31/functions/{function}/invocations"),
        }
    }

    pub(super) async fn invoke(&self, payload: Bytes, trace: &str) -> Result<Outcome, InvokeError> {
        let answer = self.post(payload, trace).await.map_err(|error| {
            let reason = error.to_string();
            InvokeError::Unreachable { reason }
        })?;
        let status = answer.status();
        let is_error = answer.headers().contains_key("x-amz-function-error");
        // Not every emulator of Lambda's knows its limit.
        let body = server::body(answer.into_body(), MAX_INVOKE_PAYLOAD_BYTES).await;
        let refused = |status: StatusCode| InvokeError::Refused {
            status: status.as_u16(),
        };
        match status {
            StatusCode::OK => Ok(match body {
                Err(StatusCode::PAYLOAD_TOO_LARGE) => Outcome::too_large(),
                Ok(body) if is_error => Outcome::Failed(body),
                Ok(body) => Outcome::Answered(body),
                Err(status) => return Err(refused(status)),
            }),
            StatusCode::NOT_FOUND => Err(InvokeError::NotFound),
            StatusCode::TOO_MANY_REQUESTS => Err(InvokeError::Throttled),
            status => Err(refused(status)),
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

/// Whether this is `http://HOST:PORT`, perhaps with a path.
pub(crate) fn check_url(url: &str) -> Result<(), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is no URL")?;
    match (uri.scheme_str(), uri.port_u16(), uri.query()) {
        (Some("http"), Some(_), None) => Ok(()),
        (Some("https"), _, _) => Err("only http:// is spoken"),
        _ => Err("it is not of the form http://HOST:PORT"),
    }
}
