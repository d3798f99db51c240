//! Pings the peer of an HTTP/2 connection.

use std::{future::poll_fn, time::Duration};

use h2::{Ping, PingPong};

/// What became of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinged {
    /// The peer has answered it.
    Answered,
    /// The peer has not answered it in time.
    Unanswered,
    /// The connection has ended.
    Ended,
}

/// Sends a ping and waits for the answer, if there is a timeout no longer than that.
pub async fn ping(pings: &mut PingPong, timeout: Option<Duration>) -> Pinged {
    if pings.send_ping(Ping::opaque()).is_err() {
        return Pinged::Ended;
    }
    let pong = poll_fn(|context| pings.poll_pong(context));
    let pong = match timeout {
        Some(timeout) => tokio::time::timeout(timeout, pong).await,
        None => Ok(pong.await),
    };
    match pong {
        Ok(Ok(_)) => Pinged::Answered,
        Ok(Err(_)) => Pinged::Ended,
        Err(_) => Pinged::Unanswered,
    }
}
