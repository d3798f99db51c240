//! Encodes what a function returns: an answer that fits into an invocation's payload, or a function error.

use std::{fmt, ops::Deref};

use flowgate_proto::{
    Compression, DataRequest,
    invoke::{FunctionError, FunctionErrorKind, InvocationResponse, ResponseInfo},
    json::{self, WriteError},
    limits::MAX_INVOKE_PAYLOAD_BYTES,
    with_causes,
};
use serde::Serialize;
use serde_json::value::RawValue;

/// The JSON of an answer, which dereferences to its text. A host hands it to the runtime client, which sends it unchanged:
/// megabytes of it are not parsed again to find out that they are JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct RawAnswer(Box<RawValue>);

impl RawAnswer {
    /// Takes text that has been written as JSON elsewhere, and checks it once.
    ///
    /// # Errors
    /// When it is not JSON.
    pub(super) fn from_text(text: String) -> Result<Self, FunctionError> {
        let json = RawValue::from_string(text).map(Self);
        json.map_err(|error| function_error(FunctionErrorKind::Failed, error.to_string()))
    }

    /// Returns the JSON as serde's type.
    #[must_use]
    pub fn into_inner(self) -> Box<RawValue> {
        self.0
    }
}

impl Deref for RawAnswer {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.get()
    }
}

impl fmt::Display for RawAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get())
    }
}

/// The longest message of a function error. It may quote a payload of any length.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Creates a function error. A text of more than 4096 bytes is cut off.
pub fn function_error(kind: FunctionErrorKind, text: impl Into<String>) -> FunctionError {
    let mut error_message = text.into();
    error_message.truncate(error_message.floor_char_boundary(MAX_MESSAGE_BYTES));
    FunctionError {
        error_type: kind.name().to_owned(),
        error_message,
    }
}

/// Encodes an answer of protobuf, compressed as the request was, or by zstd if it is too large otherwise.
pub(super) fn encode(
    message: &[u8],
    encoding: Compression,
    info: &ResponseInfo,
) -> Result<RawAnswer, FunctionError> {
    InvocationResponse::encode_within_limit(message, encoding, info, MAX_INVOKE_PAYLOAD_BYTES)
        .map(RawAnswer)
        .map_err(|error| function_error(FunctionErrorKind::AnswerTooLarge, error.to_string()))
}

/// Encodes an answer as JSON. `unrepresentable` returns what to answer when JSON cannot represent it.
pub(super) fn encode_json(
    answer: &DataRequest,
    unrepresentable: impl FnOnce(&WriteError) -> Result<Vec<u8>, FunctionError>,
) -> Result<RawAnswer, FunctionError> {
    let body = match json::write_http(answer) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(
                request_id = answer.header.request_id,
                error = %with_causes(&error),
                "cannot encode the answer as JSON"
            );
            unrepresentable(&error)?
        }
    };
    if body.len() > MAX_INVOKE_PAYLOAD_BYTES {
        let text = format!(
            "the answer has {} bytes, and Lambda's payload limit is {MAX_INVOKE_PAYLOAD_BYTES} bytes",
            body.len()
        );
        return Err(function_error(FunctionErrorKind::AnswerTooLarge, text));
    }
    let text = String::from_utf8(body)
        .map_err(|error| function_error(FunctionErrorKind::Failed, error.to_string()))?;
    RawAnswer::from_text(text)
}
