//! The JSON of Jina's HTTP and WebSocket protocols: parses request bodies into data requests, and writes
//! responses in the style of either protocol.
//!
//! Parsing is as lenient as Python's json module and pydantic 1.10, and reports errors in their words.
//! Status codes and WebSocket frames are the caller's concern.

mod coerce;
mod field_error;
mod python_base64;
mod read_array;
mod read_document;
mod read_request;
mod read_response;
mod read_struct;
mod request_body;
mod sparse_array;
mod syntax;
mod syntax_error;
mod value;
mod write_array;
mod write_document;
mod write_error;
mod write_response;
mod write_status;
mod writer;

#[cfg(test)]
mod tests;

pub use field_error::{Context, FieldError, Loc};
pub use read_request::{EndpointFrom, ReadError, read_request};
pub use read_response::read_response;
pub use request_body::RequestBody;
pub use syntax::{parse, parse_request, parse_request_counted};
pub use syntax_error::{SyntaxError, SyntaxErrorKind};
pub use value::{Items, ItemsIter, Json};
pub use write_error::{ArrayError, WriteError};
pub use write_response::{
    write_failed_request, write_http, write_websocket, write_websocket_unescaped,
};
pub use write_status::{write_info, write_status};
pub use writer::JsonStyle;
