//! What every server of the workspace does with a bound port: accept a bounded number of connections, serve HTTP on them,
//! and let them finish when the process stops. The Gateway, the Executor and the local emulator share it.

mod accept;

mod activity;

pub mod blocking;

pub mod budget;

pub mod buffered;

mod framing;

mod http;

pub mod http1;

pub mod http2;

mod memory;

mod open_connections;

mod pace;

mod paced_body;

pub mod ping;

mod preface;

mod watched;

pub mod workers;

pub use accept::{Connection, Incoming};
pub use activity::wait_for_last_request;
pub use http::Http;
pub use memory::available_memory;
pub use open_connections::{InUse, OpenConnections, Usage};
pub use pace::{MinRate, PaceLimit};
pub use paced_body::PacedBody;
