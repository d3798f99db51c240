//! What every server of the workspace does with a bound port: accept a bounded number of connections, serve HTTP on them,
//! and let them finish when the process stops. The Gateway, the Executor and the local emulator share it.

mod accept;

pub mod budget;

mod http;

pub mod http2;

mod preface;

pub mod workers;

pub use accept::{Connection, Incoming};
pub use http::Http;
