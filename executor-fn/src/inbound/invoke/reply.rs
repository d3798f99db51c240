//! An answer -> a text that fits into an invocation's payload, compressed further if it must be.

use flowgate_proto::{
    Compression, DataRequest,
    invoke::{Answer, FaultKind, FunctionFault},
    json,
    limits::INVOKE_BYTES,
};

use super::fault;

/// The answer with this message: compressed as the request was; by zstd if it is too large so.
pub(super) fn payload(
    message: &[u8],
    encoding: Compression,
    is_error: bool,
) -> Result<String, FunctionFault> {
    let mut least = base64_len(message.len());
    for encoding in ladder(encoding, message.len()) {
        let text = write(message, encoding, is_error)
            .map_err(|error| fault(FaultKind::AnswerTooLarge, error.to_string()))?;
        if text.len() <= INVOKE_BYTES {
            return Ok(text);
        }
        least = least.min(text.len());
    }
    Err(too_large(format!(
        "the answer of {} bytes makes a payload of {least} bytes when it is compressed, and Lambda takes {INVOKE_BYTES}",
        message.len()
    )))
}

/// The answer as HTTP has it. One that JSON cannot hold is answered as a failure, as HTTP does.
pub(super) fn json(sent: &DataRequest, answer: &DataRequest) -> Result<String, FunctionFault> {
    let written = json::write_http(answer).unwrap_or_else(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "an answer could not be written"
        );
        json::write_failure(sent, &error.to_string())
    });
    if written.len() > INVOKE_BYTES {
        return Err(too_large(format!(
            "the answer of {} bytes does not fit into a payload, of which Lambda takes {INVOKE_BYTES} bytes",
            written.len()
        )));
    }
    String::from_utf8(written).map_err(|error| fault(FaultKind::AnswerTooLarge, error.to_string()))
}

fn ladder(encoding: Compression, bytes: usize) -> impl Iterator<Item = Compression> {
    let hopeless = encoding == Compression::None && base64_len(bytes) > INVOKE_BYTES;
    let first = (!hopeless).then_some(encoding);
    let stronger = (encoding != Compression::Zstd).then_some(Compression::Zstd);
    first.into_iter().chain(stronger)
}

fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3).saturating_mul(4)
}

fn write(message: &[u8], encoding: Compression, is_error: bool) -> std::io::Result<String> {
    Ok(Answer::of(message, encoding, is_error)?.write()?)
}

fn too_large(text: String) -> FunctionFault {
    fault(FaultKind::AnswerTooLarge, text)
}
