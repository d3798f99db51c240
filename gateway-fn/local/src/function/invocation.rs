//! An invocation, its result, and the errors that prevent it.

use std::error::Error;

use bytes::Bytes;
use flowgate_proto::limits::MAX_INVOKE_PAYLOAD_BYTES;
use serde_json::json;
use uuid::Uuid;

/// How much of a function's error is logged.
const MAX_LOGGED_ERROR_BYTES: usize = 2000;

/// An invocation of a function that the emulator runs.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    pub(crate) payload: Bytes,
    /// The value of the X-Ray trace header.
    pub(crate) trace: Option<String>,
    /// The client context as JSON text.
    pub(crate) client_context: Option<String>,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InvokeResult {
    /// The function's response.
    Response(Bytes),
    /// Lambda's error object: the function failed.
    FunctionError(Bytes),
}

/// Why the function was not invoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvokeError {
    #[error("the endpoint does not have this function")]
    NotFound,
    #[error(
        "the event of {bytes} bytes is over Lambda's limit of {MAX_INVOKE_PAYLOAD_BYTES} bytes"
    )]
    TooLarge { bytes: usize },
    #[error("every runtime of the function is busy")]
    Throttled,
    #[error("the endpoint responded with status {status}")]
    EndpointStatus { status: u16 },
    #[error("cannot reach the endpoint")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    #[error("the emulator is stopping")]
    Stopping,
}

impl Invocation {
    pub(crate) fn new(payload: Bytes, trace: Option<String>) -> Self {
        Self {
            request_id: Uuid::new_v4().to_string(),
            payload,
            trace,
            client_context: None,
        }
    }
}

impl InvokeResult {
    /// Returns Lambda's error object for a failure that the function did not report itself.
    pub(crate) fn function_error(error_type: &str, message: &str) -> Self {
        let error = json!({ "errorType": error_type, "errorMessage": message });
        Self::FunctionError(Bytes::from(error.to_string()))
    }

    /// Returns Lambda's error for a response over the size limit.
    pub(crate) fn response_too_large() -> Self {
        Self::function_error(
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        )
    }
}

/// Logs Lambda's error object, shortened.
pub(crate) fn log_error(event: &str, error: &[u8]) {
    let error = &error[..error.len().min(MAX_LOGGED_ERROR_BYTES)];
    tracing::warn!(error = %String::from_utf8_lossy(error), "{event}");
}
