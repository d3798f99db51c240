//! What goes wrong with an invocation -> Lambda's error object.

use flowgate_proto::{
    invoke::{FunctionError, FunctionErrorKind, PayloadError},
    with_causes,
};

/// The most of an error's text that travels: what is wrong shows in less, and a payload's own text that is
/// quoted in it may be long.
const TEXT_BYTES: usize = 4096;

/// A function error of ours.
pub fn fault(kind: FunctionErrorKind, text: impl Into<String>) -> FunctionError {
    let mut error_message = text.into();
    error_message.truncate(error_message.floor_char_boundary(TEXT_BYTES));
    FunctionError {
        error_type: kind.name().to_owned(),
        error_message,
    }
}

/// The fault of a payload that cannot be read, with its causes.
pub(super) fn unreadable(error: &PayloadError) -> FunctionError {
    fault(error.kind(), with_causes(error))
}
