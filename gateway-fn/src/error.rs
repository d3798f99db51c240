//! The errors of a request, and how each protocol reports them to the client.

mod call;

use flowgate_flow::walk::WalkError;
use flowgate_grpc::{RETRY_AFTER_SECONDS, with_may_have_run, with_retry_after};
use flowgate_proto::{
    DocumentsError, LimitExceeded,
    jina::{
        StatusProto,
        status_proto::{ExceptionProto, StatusCode},
    },
};
use tonic::metadata::MetadataMap;

pub use call::{CallError, CallFailure};
pub(crate) use call::{TIMED_OUT, UNREACHABLE};

/// The kinds of failure that a client can distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// An Executor cannot be reached.
    Unavailable,
    /// An Executor did not answer within `timeout_send`, or before the request's deadline.
    DeadlineExceeded,
    /// The request's `target_executor` is not a valid regular expression.
    InvalidTarget,
    /// The request cannot be decoded, or a condition of the Flow cannot be applied to one of its documents.
    InvalidRequest,
    /// The Gateway's limit of concurrent requests is reached, its memory has no room, or Lambda throttled a function.
    Overloaded,
    /// The request or its answer is larger than a Lambda payload or a limit allows.
    TooLarge,
    /// A Lambda function ran and failed, or its answer is invalid.
    FunctionFailed,
    /// The configuration of a Lambda function, or of the Gateway, keeps the function from being invoked.
    Misconfigured,
    /// An Executor answered with another gRPC status.
    Refused,
    /// The Gateway failed, or an Executor's answer cannot be decoded.
    Internal,
}

impl ErrorCode {
    /// The gRPC status. Jina 3.13 answers a client's own mistakes with UNKNOWN (recordings
    /// `grpc/14-bad_target_regex`, `grpc/15-garbage`).
    #[must_use]
    pub const fn grpc_code(self) -> tonic::Code {
        match self {
            Self::Unavailable => tonic::Code::Unavailable,
            Self::DeadlineExceeded => tonic::Code::DeadlineExceeded,
            Self::InvalidTarget | Self::InvalidRequest | Self::Refused | Self::Internal => {
                tonic::Code::Unknown
            }
            Self::Overloaded | Self::TooLarge => tonic::Code::ResourceExhausted,
            Self::FunctionFailed => tonic::Code::Internal,
            Self::Misconfigured => tonic::Code::FailedPrecondition,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn http_status(self) -> http::StatusCode {
        match self {
            Self::Unavailable => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::DeadlineExceeded => http::StatusCode::GATEWAY_TIMEOUT,
            Self::InvalidTarget | Self::InvalidRequest => http::StatusCode::UNPROCESSABLE_ENTITY,
            Self::Overloaded => http::StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::FunctionFailed | Self::Misconfigured => http::StatusCode::BAD_GATEWAY,
            Self::Refused | Self::Internal => http::StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The WebSocket close code: 1011 as in Jina for network errors, 1008 for a client's own mistakes, 1009 for what is too
    /// large, 1013 (try again later) where the Gateway or Lambda is overloaded.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Unavailable
            | Self::DeadlineExceeded
            | Self::Refused
            | Self::FunctionFailed
            | Self::Misconfigured
            | Self::Internal => 1011,
            Self::TooLarge => 1009,
            Self::InvalidTarget | Self::InvalidRequest => 1008,
            Self::Overloaded => 1013,
        }
    }
}

/// Why the Gateway could not answer a request.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The call to an Executor failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The request does not fit the Flow.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// `max_concurrent_requests` are being handled.
    #[error("the Gateway already handles {limit} requests, its limit; try again later")]
    Overloaded {
        /// The value of `max_concurrent_requests`.
        limit: usize,
    },
    /// The connection has as many requests in flight as leave places for others.
    #[error(
        "this connection has {in_flight} requests in flight, its share of the free places (connection_share); try again later"
    )]
    ConnectionShare {
        /// The requests of the connection.
        in_flight: usize,
    },
    /// The Gateway stopped before the request was finished.
    #[error("the Gateway has stopped before the request was finished")]
    Stopped {
        /// Whether Executors may have run the request.
        may_have_run: bool,
    },
    /// The request, or an Executor's answer, would exceed a limit when it is decoded.
    #[error(transparent)]
    TooLarge(LimitExceeded),
    /// The memory of other requests leaves no room to decode the request, or an Executor's answer.
    #[error("{}", LimitExceeded::NoRoom)]
    NoRoom {
        /// Whether Executors have run the request.
        may_have_run: bool,
    },
    /// A failure of the Gateway itself.
    #[error("internal error of the Gateway")]
    Internal,
}

/// Of a request that no Executor has got.
impl From<LimitExceeded> for GatewayError {
    fn from(exceeded: LimitExceeded) -> Self {
        match exceeded {
            LimitExceeded::NoRoom => Self::NoRoom {
                may_have_run: false,
            },
            LimitExceeded::Documents { .. } | LimitExceeded::DecodedBytes { .. } => {
                Self::TooLarge(exceeded)
            }
        }
    }
}

impl GatewayError {
    /// The answer of an Executor exceeds a limit, or finds no room.
    pub(crate) fn of_answer(exceeded: LimitExceeded) -> Self {
        match Self::from(exceeded) {
            Self::NoRoom { .. } => Self::NoRoom { may_have_run: true },
            error => error,
        }
    }

    /// The kind of failure.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Call(error) => error.failure.code(),
            Self::Walk(WalkError::Target(_)) => ErrorCode::InvalidTarget,
            Self::TooLarge(LimitExceeded::NoRoom) => ErrorCode::Overloaded,
            Self::TooLarge(_)
            | Self::Walk(
                WalkError::Documents {
                    source: DocumentsError::TooLarge(_),
                    ..
                }
                | WalkError::ExecutorDocuments {
                    source: DocumentsError::TooLarge(_),
                    ..
                },
            ) => ErrorCode::TooLarge,
            Self::Walk(
                WalkError::Parameters(_) | WalkError::Documents { .. } | WalkError::Filter { .. },
            ) => ErrorCode::InvalidRequest,
            Self::Overloaded { .. } | Self::ConnectionShare { .. } | Self::NoRoom { .. } => {
                ErrorCode::Overloaded
            }
            Self::Stopped { .. } => ErrorCode::Unavailable,
            Self::Walk(WalkError::ExecutorDocuments { .. }) | Self::Internal => ErrorCode::Internal,
        }
    }

    /// The failed call, if a call to an Executor failed.
    const fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call(error) => Some(error),
            Self::Walk(_)
            | Self::Overloaded { .. }
            | Self::ConnectionShare { .. }
            | Self::Stopped { .. }
            | Self::TooLarge(_)
            | Self::NoRoom { .. }
            | Self::Internal => None,
        }
    }

    /// The Executor at which the request failed, if it failed at one.
    #[must_use]
    pub fn executor(&self) -> Option<&str> {
        self.call().map(|error| error.deployment.as_str())
    }

    /// The addresses at which the Executor was called, for the log.
    #[must_use]
    pub fn addresses(&self) -> Option<String> {
        self.call().and_then(CallError::joined_addresses)
    }

    /// The text for the client. For a failed call it is Jina's own (Jina 3.13, recordings
    /// `grpc/44-executor_down_dry_run`, `http/39-executor_down_dry_run`).
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Call(error) => error.detail(),
            Self::Walk(WalkError::Target(error)) => {
                format!("Unexpected <class 're.error'>: {error}")
            }
            Self::Walk(WalkError::Parameters(_)) => {
                format!(
                    "{}'jina.DataRequestProto'",
                    flowgate_proto::DECODE_ERROR_PREFIX
                )
            }
            Self::Walk(
                error @ (WalkError::Documents { source, .. }
                | WalkError::ExecutorDocuments { source, .. }),
            ) => format!("{error}: {source}"),
            Self::Walk(error @ WalkError::Filter { source, .. }) => {
                format!(
                    "Unexpected <class '{}'>: {error}: {source}",
                    source.python_class()
                )
            }
            Self::Overloaded { .. }
            | Self::ConnectionShare { .. }
            | Self::Stopped { .. }
            | Self::TooLarge(_)
            | Self::NoRoom { .. }
            | Self::Internal => self.to_string(),
        }
    }

    /// The reason for a WebSocket close frame: the detail if it fits, else Jina's shorter text.
    #[must_use]
    pub fn close_reason(&self) -> String {
        let detail = self.detail();
        if detail.len() <= MAX_CLOSE_REASON_BYTES {
            return detail;
        }
        self.call().map_or(detail, CallError::short_detail)
    }

    /// The trailing metadata of the Executor's failure, which is passed on to gRPC clients.
    #[must_use]
    pub fn trailers(&self) -> MetadataMap {
        self.call()
            .map(CallError::shown_trailers)
            .unwrap_or_default()
    }

    /// After how many seconds the client may try again, if there is no room now or Lambda throttles a function; `None` if that
    /// might repeat the work of Executors.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        if self.code() != ErrorCode::Overloaded
            || matches!(self, Self::NoRoom { may_have_run: true })
        {
            return None;
        }
        let of_peer = self.call().and_then(|error| error.retry_after);
        Some(of_peer.map_or(RETRY_AFTER_SECONDS, |seconds| seconds.get().into()))
    }

    /// The gRPC status.
    #[must_use]
    pub fn grpc_status(&self) -> tonic::Status {
        let mut status =
            tonic::Status::with_metadata(self.grpc_code(), self.detail(), self.trailers());
        if status.code() == tonic::Code::Unavailable && self.may_have_run() {
            status = with_may_have_run(status);
        }
        match self.retry_after() {
            Some(seconds) => with_retry_after(status, seconds),
            None => status,
        }
    }

    /// Whether an Executor may have run the request, so that to repeat it may repeat its work.
    const fn may_have_run(&self) -> bool {
        match self {
            Self::Call(CallError { may_have_run, .. })
            | Self::Stopped { may_have_run }
            | Self::NoRoom { may_have_run } => *may_have_run,
            Self::Walk(_)
            | Self::Overloaded { .. }
            | Self::ConnectionShare { .. }
            | Self::TooLarge(_)
            | Self::Internal => false,
        }
    }

    /// The gRPC status for clients that do not know Jina's UNKNOWN for their own mistakes.
    #[must_use]
    pub(crate) fn connect_status(&self) -> tonic::Status {
        match self.code() {
            ErrorCode::InvalidTarget | ErrorCode::InvalidRequest => {
                tonic::Status::invalid_argument(self.detail())
            }
            _ => self.grpc_status(),
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn http_status(&self) -> http::StatusCode {
        match self {
            // As where the bytes of a request find no room.
            Self::NoRoom { .. } => http::StatusCode::SERVICE_UNAVAILABLE,
            _ => self.code().http_status(),
        }
    }

    /// The status in `header.status`, and of a dry run.
    #[must_use]
    pub fn status(&self) -> StatusProto {
        let detail = self.detail();
        StatusProto {
            code: StatusCode::Error.into(),
            description: detail.clone(),
            exception: Some(ExceptionProto {
                name: self.exception_name().to_owned(),
                args: vec![detail],
                stacks: vec![format!("{:?} at the Gateway\n", self.code())],
                executor: String::new(),
            }),
        }
    }

    /// The name of the Python exception that Jina would report in `exception.name`.
    const fn exception_name(&self) -> &'static str {
        match self {
            Self::Call(_) => "InternalNetworkError",
            Self::Walk(WalkError::Target(_)) => "error",
            Self::Walk(_) => "ValueError",
            Self::TooLarge(_) | Self::NoRoom { .. } => "MemoryError",
            Self::Overloaded { .. }
            | Self::ConnectionShare { .. }
            | Self::Stopped { .. }
            | Self::Internal => "RuntimeError",
        }
    }

    const fn grpc_code(&self) -> tonic::Code {
        match self {
            Self::Call(CallError {
                failure: CallFailure::Status(code),
                ..
            }) => *code,
            Self::Call(_)
            | Self::Walk(_)
            | Self::Overloaded { .. }
            | Self::ConnectionShare { .. }
            | Self::Stopped { .. }
            | Self::TooLarge(_)
            | Self::NoRoom { .. }
            | Self::Internal => self.code().grpc_code(),
        }
    }
}

/// Bytes of UTF-8 that fit into a close frame beside the code (RFC 6455, section 5.5).
pub(crate) const MAX_CLOSE_REASON_BYTES: usize = 123;

#[cfg(test)]
mod tests {
    use flowgate_grpc::may_have_run;

    use super::*;

    #[test]
    fn a_client_may_try_again_when_there_is_room_unless_executors_have_run_the_request() {
        let full = LimitExceeded::NoRoom;
        for (error, retry_after) in [
            (GatewayError::from(full), Some(RETRY_AFTER_SECONDS)),
            (GatewayError::of_answer(full), None),
        ] {
            assert_eq!(error.http_status(), http::StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(error.code().close_code(), 1013);
            assert_eq!(error.retry_after(), retry_after);
            assert_eq!(error.detail(), full.to_string());
            let status = error.grpc_status();
            assert_eq!(status.code(), tonic::Code::ResourceExhausted);
            let is_told = status.metadata().contains_key("retry-after");
            assert_eq!(is_told, retry_after.is_some());
        }
        let documents = LimitExceeded::Documents { limit: 1 };
        let too_many = GatewayError::of_answer(documents);
        assert_eq!(too_many.http_status(), http::StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn a_request_that_was_cut_off_is_not_repeated_by_a_gateway_in_front() {
        for is_begun in [true, false] {
            let error = GatewayError::Stopped {
                may_have_run: is_begun,
            };
            let status = error.grpc_status();
            assert_eq!(status.code(), tonic::Code::Unavailable);
            assert_eq!(may_have_run(&status), is_begun);
        }
    }
}
