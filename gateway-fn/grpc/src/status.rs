//! Translates between a gRPC status and the trailers that carry it.

use flowgate_proto::MAY_HAVE_RUN_TRAILER;
use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

use crate::messages::MessageError;

/// The longest text of a status that is sent, in encoded bytes. With the rest of the trailers it stays below the 8 KiB that
/// gRPC's own clients accept by default; with a longer text the whole call would fail there.
const MAX_TEXT_BYTES: usize = 4 << 10;

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";

/// Returns the status in a peer's trailers, or in its headers if it sent nothing else; `None` if they have none.
#[must_use]
pub fn from_headers(headers: &HeaderMap) -> Option<Status> {
    let code = Code::from_bytes(headers.get(STATUS)?.as_bytes());
    let text = headers.get(MESSAGE).map_or_else(String::new, |value| {
        percent_decode(value.as_bytes())
            .decode_utf8_lossy()
            .into_owned()
    });
    let mut metadata = headers.clone();
    for name in [STATUS, MESSAGE, "content-type"] {
        metadata.remove(name);
    }
    Some(Status::with_metadata(
        code,
        text,
        MetadataMap::from_headers(metadata),
    ))
}

/// The most metadata that is sent beside a status, in bytes, for the same reason.
const MAX_METADATA_BYTES: usize = 3 << 10;

/// Returns the trailers that carry a status. Text that is too long is shortened, and metadata that is too large is left out.
#[must_use]
pub fn to_trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let mut left = MAX_METADATA_BYTES;
    let metadata = status.metadata().as_ref();
    // First, so that it fits whatever else an Executor has sent.
    let (marks, others): (Vec<_>, Vec<_>) = metadata
        .iter()
        .partition(|(name, _)| *name == MAY_HAVE_RUN_TRAILER);
    for (name, value) in marks.into_iter().chain(others) {
        let size = name.as_str().len() + value.len();
        if let Some(rest) = left.checked_sub(size) {
            left = rest;
            trailers.append(name, value.clone());
        }
    }
    trailers.insert(STATUS, HeaderValue::from(status.code() as i32));
    if let Some(text) = encode(status.message()) {
        trailers.insert(MESSAGE, text);
    }
    trailers
}

impl From<MessageError> for Status {
    /// The status of a call whose message cannot be read.
    fn from(error: MessageError) -> Self {
        let code = match &error {
            MessageError::Body(status) => return status.as_ref().clone(),
            MessageError::TooLarge { .. }
            | MessageError::TooLargeDecompressed { .. }
            | MessageError::OverBudget(_) => Code::ResourceExhausted,
            MessageError::UnknownEncoding(_) => Code::Unimplemented,
            MessageError::TooSlow => Code::DeadlineExceeded,
            MessageError::MissingEncoding
            | MessageError::Decompress(_)
            | MessageError::InvalidFlag(_)
            | MessageError::CutOff => Code::Internal,
            MessageError::Stream(error) => error.reason().map_or(Code::Unavailable, code_of),
        };
        let status = Self::new(code, error.to_string());
        match error {
            MessageError::OverBudget(_) => with_retry_after(status, RETRY_AFTER_SECONDS),
            _ => status,
        }
    }
}

/// The value of `retry-after` for a request that is refused because there is no room: most requests take less than a
/// second.
pub const RETRY_AFTER_SECONDS: u64 = 1;

/// Adds after how many seconds the client may try again, under the name that HTTP has for it.
#[must_use]
pub fn with_retry_after(mut status: Status, seconds: u64) -> Status {
    let retry_after = MetadataValue::from(seconds);
    status.metadata_mut().insert("retry-after", retry_after);
    status
}

/// Marks a status: an Executor may have run the call.
#[must_use]
pub fn with_may_have_run(mut status: Status) -> Status {
    let mark = MetadataValue::from_static("true");
    status.metadata_mut().insert(MAY_HAVE_RUN_TRAILER, mark);
    status
}

/// Whether the status has the mark of [`with_may_have_run`].
#[must_use]
pub fn may_have_run(status: &Status) -> bool {
    status.metadata().contains_key(MAY_HAVE_RUN_TRAILER)
}

/// Returns the code for a stream that was reset ("gRPC over HTTP2", "Errors").
#[must_use]
pub(crate) fn code_of(reason: h2::Reason) -> Code {
    match reason {
        h2::Reason::REFUSED_STREAM => Code::Unavailable,
        h2::Reason::CANCEL => Code::Cancelled,
        h2::Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        h2::Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

/// The bytes that are encoded: what is not printable ASCII, and `%` ("gRPC over HTTP2", "Status-Message").
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Encodes a text, shortened if it is too long. An empty text is left out.
fn encode(text: &str) -> Option<HeaderValue> {
    if text.is_empty() {
        return None;
    }
    // Each byte may become three.
    let (shown, rest) = text.split_at(text.floor_char_boundary(MAX_TEXT_BYTES / 3));
    let mut encoded = utf8_percent_encode(shown, ENCODED).to_string();
    if !rest.is_empty() {
        encoded.push_str("...");
    }
    HeaderValue::try_from(encoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives_the_trailers() {
        for text in ["", "plain", "100 % of\nlines", "größer", "%zz%4"] {
            let status = Status::new(Code::NotFound, text);
            let read = from_headers(&to_trailers(&status)).expect("a status");
            assert_eq!((read.code(), read.message()), (Code::NotFound, text));
        }
    }

    #[test]
    fn a_long_text_is_shortened() {
        let status = Status::new(Code::Unknown, "ü".repeat(100_000));
        let trailers = to_trailers(&status);
        assert!(trailers[MESSAGE].len() < MAX_TEXT_BYTES + 16);
        assert!(
            from_headers(&trailers)
                .expect("a status")
                .message()
                .ends_with("ü...")
        );
    }

    #[test]
    fn large_metadata_is_left_out() {
        let mut status = Status::new(Code::Internal, "text");
        for (name, size) in [("large", 10_000), ("small", 10), ("nearly-all", 3_030)] {
            let value = "x".repeat(size).parse().expect("metadata");
            status.metadata_mut().insert(name, value);
        }
        let read = from_headers(&to_trailers(&status)).expect("a status");
        assert!(read.metadata().get("large").is_none() && read.metadata().get("small").is_some());
        // The mark of this project is kept in any case.
        let read = from_headers(&to_trailers(&with_may_have_run(status))).expect("a status");
        assert!(may_have_run(&read));
    }

    #[test]
    fn metadata_is_kept_without_the_status_itself() {
        let mut status = Status::new(Code::Internal, "text");
        status
            .metadata_mut()
            .insert("is-error", MetadataValue::from_static("true"));
        let read = from_headers(&to_trailers(&status)).expect("a status");
        let names: Vec<_> = read
            .metadata()
            .as_ref()
            .keys()
            .map(http::HeaderName::as_str)
            .collect();
        assert_eq!(names, ["is-error"]);
        assert!(from_headers(&HeaderMap::new()).is_none());
    }
}
