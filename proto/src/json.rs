//! The JSON of Jina's HTTP and WebSocket: a text becomes a [`Json`], a `Json` a data request, an
//! answer a text again in the form of either protocol.
//!
//! Reading is as lenient as Python's json and pydantic 1.10 are, and complains in their words;
//! it knows nothing of status codes, nor of frames.

mod coerce;
mod field_error;
mod python_base64;
mod read_answer;
mod read_array;
mod read_document;
mod read_request;
mod read_struct;
mod syntax;
mod value;
mod write_answer;
mod write_array;
mod write_document;
mod write_status;
mod writer;

#[cfg(test)]
mod tests;

pub use field_error::{Context, FieldError, Loc};
pub use read_answer::read_answer;
pub use read_request::{EndpointFrom, read_request};
pub use syntax::{Fault, SyntaxError, parse};
pub use value::Json;
pub use write_answer::{write_failure, write_http, write_websocket};
pub use write_array::ArrayError;
pub use write_status::{write_info, write_status};
pub use writer::{Form, WriteError};
