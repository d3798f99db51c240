//! What goes wrong with an invocation -> Lambda's error object.

use flowgate_proto::{
    invoke::{FaultKind, FunctionFault, PayloadError},
    with_causes,
};

/// The most of an error's text that travels: what is wrong shows in less, and a payload's own text that is
/// quoted in it may be long.
const TEXT_BYTES: usize = 4096;

/// A function error of ours.
pub fn fault(kind: FaultKind, text: impl Into<String>) -> FunctionFault {
    let mut error_message = text.into();
    error_message.truncate(error_message.floor_char_boundary(TEXT_BYTES));
    FunctionFault {
        error_type: kind.name().to_owned(),
        error_message,
    }
}

/// The fault of a payload that cannot be read, with its causes.
pub(super) fn unreadable(error: &PayloadError) -> FunctionFault {
    fault(error.kind(), with_causes(error))
}
