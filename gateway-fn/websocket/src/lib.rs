//! The server's side of the WebSocket protocol (RFC 6455), without extensions. An idle socket holds no buffer, messages are
//! bounded while they arrive, and reading goes on while a client is slow to take its answers.

mod decoder;

mod handshake;

mod message;

mod outbox;

mod scratch;

mod socket;

pub use decoder::Decoder;
pub use handshake::{HandshakeError, Upgrade, Upgraded, accept};
pub use message::{Close, Message, ReceiveError};
pub use socket::{Disconnected, Received, Socket};
