//! Calls unary gRPC methods at one address of a host over pooled HTTP/2 connections.

mod connect;

mod connection;

mod host;

mod pool;

mod tls;

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use flowgate_proto::Chunks;
use flowgate_server::{budget::Budget, http2::MAX_STALL};
use h2::client::{ResponseFuture, SendRequest};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header, uri::PathAndQuery,
};
use tonic::{Code, Status};

use crate::{
    compression::Encoding,
    messages::{MessageError, Messages},
    send::send,
    status::{code_of, from_headers, with_may_have_run},
};

pub use connect::{Address, ConnectError};
pub use host::{AddressError, Host, MAX_ADDRESSES, Resolve, SystemResolver};
pub use pool::Pool;
pub use tls::{ClientTls, TlsError};

/// One call to make.
#[derive(Debug)]
pub struct Call {
    /// The method, `/package.Service/method`.
    pub path: &'static str,
    /// The metadata, of which gRPC's own headers are overwritten.
    pub metadata: HeaderMap,
    /// The message in its gRPC frame.
    pub message: Chunks,
    /// How the message is compressed.
    pub encoding: Option<Encoding>,
    /// The largest message in the answer, in bytes.
    pub max_message_bytes: usize,
    /// Counts the answer while it arrives. One that does not fit is an error.
    pub budget: Option<Arc<Budget>>,
}

/// The answer of a call that has succeeded.
#[derive(Debug)]
pub struct Answer {
    /// The first message.
    pub message: Chunks,
    /// The trailing metadata, if it was read.
    pub trailers: HeaderMap,
}

/// How much of an answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// One message and the status after it.
    Unary,
    /// The first message of a stream.
    First,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection could be made: the peer has received nothing of the call.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The peer refused the call without processing it, for example because it is stopping.
    #[error("the peer refused the call: {0}")]
    Refused(h2::Error),
    /// The connection broke after the call was sent: the peer may have run it.
    #[error("the connection broke: {0}")]
    Broken(h2::Error),
    /// The peer answered with this status.
    #[error("the peer answered {}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
    /// The peer answered with this HTTP status instead of gRPC's, as a proxy does.
    #[error("cannot read the answer: {}", .status.message())]
    Http {
        /// The HTTP status.
        http: StatusCode,
        /// gRPC's status for it.
        status: Box<Status>,
    },
    /// The answer is invalid, or exceeds a limit of this side.
    #[error("cannot read the answer: {}", .0.message())]
    Unreadable(Box<Status>),
}

/// An open connection, for one call.
#[derive(Debug)]
pub struct Connection(SendRequest<Bytes>);

impl Pool {
    /// Begins a call on a connection of this pool, and waits until the peer allows another stream.
    ///
    /// # Errors
    /// When the connection has ended, or the peer allows no streams at all.
    pub async fn start(
        &self,
        connection: Connection,
        call: Call,
    ) -> Result<StartedCall, CallError> {
        let Connection(mut sender) = connection;
        let Call {
            path,
            metadata,
            message,
            encoding,
            max_message_bytes,
            budget,
        } = call;
        let request = self.request(path, metadata, encoding);
        let (response, stream) = sender.send_request(request, false).map_err(send_error)?;
        connection::wait_for_stream(sender).await?;
        Ok(StartedCall {
            response,
            stream,
            message,
            max_message_bytes,
            budget,
        })
    }

    fn request(
        &self,
        path: &'static str,
        metadata: HeaderMap,
        encoding: Option<Encoding>,
    ) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri(PathAndQuery::from_static(path));
        let headers = request.headers_mut();
        *headers = metadata;
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.insert("grpc-accept-encoding", Encoding::ACCEPTED);
        if let Some(encoding) = encoding {
            headers.insert("grpc-encoding", encoding.header());
        }
        request
    }
}

/// A call that has its stream. The peer has received nothing of the message, so that it cannot have run the call.
#[derive(Debug)]
pub struct StartedCall {
    response: ResponseFuture,
    stream: h2::SendStream<Bytes>,
    message: Chunks,
    max_message_bytes: usize,
    budget: Option<Arc<Budget>>,
}

impl StartedCall {
    /// Sends the message and reads the answer. Dropping the future cancels the call.
    ///
    /// # Errors
    /// When the call fails, or its answer cannot be read.
    pub async fn answer(self, expect: Expect) -> Result<Answer, CallError> {
        let answer = read_answer(self.response, self.max_message_bytes, self.budget, expect);
        exchange(self.stream, self.message, answer).await
    }
}

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("flowgate/", env!("CARGO_PKG_VERSION")));

/// Sends the message while the answer is read: its head may come before the peer has taken the whole message. Stops sending
/// when the answer is complete.
async fn exchange(
    mut stream: h2::SendStream<Bytes>,
    message: Chunks,
    answer: impl Future<Output = Result<Answer, CallError>>,
) -> Result<Answer, CallError> {
    let sending = send(&mut stream, message);
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        // If the peer has reset the stream, the answer says why.
        _sent = sending => answer.await,
        answer = &mut answer => answer,
    }
}

async fn read_answer(
    response: ResponseFuture,
    max_message_bytes: usize,
    budget: Option<Arc<Budget>>,
    expect: Expect,
) -> Result<Answer, CallError> {
    let (head, body) = response.await.map_err(stream_error)?.into_parts();
    let headers = head.headers;
    if head.status != StatusCode::OK && !headers.contains_key("grpc-status") {
        let (http, status) = (head.status, Box::new(status_of_http(head.status)));
        return Err(CallError::Http { http, status });
    }
    if body.is_end_stream() {
        return Err(ended_without_message(from_headers(&headers)));
    }
    let mut messages = Messages::new(body, &headers, max_message_bytes);
    if let Some(budget) = &budget {
        messages = messages.with_account(budget.answer_account());
    }
    let first = messages.next().await.map_err(message_error)?;
    if let (Expect::First, Some(message)) = (expect, &first) {
        let (message, trailers) = (message.clone(), HeaderMap::new());
        return Ok(Answer { message, trailers });
    }
    if first.is_some() && messages.next().await.map_err(message_error)?.is_some() {
        let status = Status::internal("the answer of a unary call has more than one message");
        return Err(CallError::Unreadable(Box::new(status)));
    }
    let trailers = messages
        .trailers()
        .await
        .map_err(stream_error)?
        .unwrap_or_default();
    match (from_headers_if_error(&trailers), first) {
        (None, Some(message)) => Ok(Answer { message, trailers }),
        (Some(status), None) => Err(CallError::Status(Box::new(status))),
        // Whatever the code is, the peer has run the call.
        (Some(status), Some(_)) => Err(CallError::Status(Box::new(with_may_have_run(status)))),
        (None, None) => Err(ended_without_message(
            from_headers(&trailers).or_else(|| from_headers(&headers)),
        )),
    }
}

/// Returns the status in the trailers of a call unless it is OK. Trailers without a status count as an error.
fn from_headers_if_error(trailers: &HeaderMap) -> Option<Status> {
    if trailers
        .get("grpc-status")
        .is_some_and(|status| status == "0")
    {
        return None;
    }
    Some(
        from_headers(trailers)
            .unwrap_or_else(|| Status::unknown("the stream ended without a status")),
    )
}

/// The error of a stream that ended without a message.
fn ended_without_message(status: Option<Status>) -> CallError {
    match status {
        Some(status) if status.code() != Code::Ok => CallError::Status(Box::new(status)),
        _ => CallError::Unreadable(Box::new(Status::internal(
            "the stream ended without an answer",
        ))),
    }
}

/// The error of a request that could not be put on the connection.
fn send_error(error: h2::Error) -> CallError {
    CallError::Refused(error)
}

/// The error of a stream on which the request was sent.
fn stream_error(error: h2::Error) -> CallError {
    let reason = error.reason();
    // A stream ends with the peer's GOAWAY only if the peer has not processed it, whatever the reason: streams up to the last
    // one that the frame names go on (RFC 9113, section 6.8).
    if reason == Some(h2::Reason::REFUSED_STREAM) || (error.is_go_away() && error.is_remote()) {
        return CallError::Refused(error);
    }
    match reason {
        // This side resets a stream so only if the peer does not take the request ([`send`]).
        Some(h2::Reason::CANCEL) if error.is_reset() && !error.is_remote() => {
            let seconds = MAX_STALL.period.as_secs();
            let text = format!("the peer took nothing of the request for {seconds} s");
            CallError::Status(Box::new(Status::deadline_exceeded(text)))
        }
        // This side has reset the stream, because what arrived is invalid or too large. The connection goes on.
        Some(_) if error.is_reset() && !error.is_remote() => {
            let text = format!(
                "headers or trailers are larger than {} bytes, or invalid: {error}",
                connection::MAX_HEADER_BYTES
            );
            CallError::Unreadable(Box::new(Status::internal(text)))
        }
        Some(reason) if error.is_reset() => {
            let text = format!("the peer reset the stream: {reason}");
            CallError::Status(Box::new(Status::new(code_of(reason), text)))
        }
        _ => CallError::Broken(error),
    }
}

fn message_error(error: MessageError) -> CallError {
    match error {
        MessageError::Stream(error) => stream_error(error),
        error => CallError::Unreadable(Box::new(error.into())),
    }
}

/// Returns the status for an answer that is not gRPC's ("HTTP to gRPC Status Code Mapping").
fn status_of_http(status: StatusCode) -> Status {
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(
        code,
        format!("the peer answered with the HTTP status {status}"),
    )
}

#[cfg(test)]
mod tests;
