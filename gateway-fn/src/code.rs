//! The kinds of failure, and the one table that says how each protocol tells the client.

/// The kinds of failure that clients tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// An Executor cannot be reached.
    Unavailable,
    /// An Executor took longer than `timeout_send`, or than the request may take.
    DeadlineExceeded,
    /// The request's `target_executor` is no regular expression.
    InvalidTarget,
    /// The request cannot be read, or a document in it does not fit a condition of the Flow.
    InvalidRequest,
    /// More requests at once than the Gateway takes, or than Lambda runs of a function.
    Overloaded,
    /// The request, or the answer to it, does not fit into an invocation.
    TooLarge,
    /// A Lambda function ran and failed, or answered what cannot be read.
    FunctionFailed,
    /// A Lambda function cannot be invoked as it or the Gateway is set up.
    Misconfigured,
    /// An Executor refused the call itself, by a gRPC status of its own.
    Refused,
    /// The Gateway failed, or an Executor answered what cannot be read.
    Internal,
}

impl ErrorCode {
    /// gRPC. Jina 3.13 answers a client's own fault with UNKNOWN (recordings `grpc/14`, `grpc/15`).
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

    /// HTTP.
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

    /// WebSocket close code: 1011 as Jina's for the network, 1008 where the client is at fault, 1009 where there is too
    /// much of something, 1013 (try again later) where the Gateway or Lambda is full.
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
