//! An answer -> a text that fits into an invocation's payload, compressed further if it must be.

use flowgate_proto::{
    Compression, DataRequest,
    invoke::{FunctionError, FunctionErrorKind, InvocationResponse},
    json,
    limits::MAX_INVOKE_PAYLOAD_BYTES,
    with_causes,
};

use super::fault;

/// The answer with this message: compressed as the request was; by zstd if it is too large so.
pub(super) fn payload(
    message: &[u8],
    encoding: Compression,
    is_error: bool,
) -> Result<String, FunctionError> {
    InvocationResponse::encode_within_limit(message, encoding, is_error, MAX_INVOKE_PAYLOAD_BYTES)
        .map_err(|error| too_large(error.to_string()))
}

/// The answer as HTTP has it. One that JSON cannot hold is answered as a failure, as HTTP does.
pub(super) fn json(sent: &DataRequest, answer: &DataRequest) -> Result<String, FunctionError> {
    let written = json::write_http(answer).unwrap_or_else(|error| {
        tracing::error!(
            error = %with_causes(&error),
            "an answer could not be written"
        );
        json::write_failed_request(sent, &error.to_string())
    });
    if written.len() > MAX_INVOKE_PAYLOAD_BYTES {
        return Err(too_large(format!(
            "the answer of {} bytes does not fit into a payload, of which Lambda takes {MAX_INVOKE_PAYLOAD_BYTES} bytes",
            written.len()
        )));
    }
    String::from_utf8(written)
        .map_err(|error| fault(FunctionErrorKind::AnswerTooLarge, error.to_string()))
}

fn too_large(text: String) -> FunctionError {
    fault(FunctionErrorKind::AnswerTooLarge, text)
}
