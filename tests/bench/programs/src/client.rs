//! The load client: streams with many messages in flight, idle WebSockets, and the time until a process answers.

mod call;
pub mod idle;
mod in_flight;
mod socket;
pub mod start;

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use clap::Args;
use futures_util::future::try_join_all;
use tokio::time::{Instant, timeout};

use in_flight::InFlight;

/// Any error ends the client; its text says all there is to know.
pub type ClientError = Box<dyn std::error::Error + Send + Sync>;

/// A run that takes longer has failed: some answer is missing.
const RUN_TIMEOUT: Duration = Duration::from_secs(110);

/// The parameters of a load.
#[derive(Args, Clone, Debug)]
pub struct Load {
    /// The port of the Gateway.
    #[arg(long)]
    port: u16,
    /// The number of connections.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// The messages in flight on each connection.
    #[arg(long)]
    in_flight: usize,
    /// The messages to send, on all connections together.
    #[arg(long)]
    messages: usize,
    /// A file with the message. It holds `bench00000000`, in which the client writes a number.
    #[arg(long)]
    message: PathBuf,
    /// The subprotocol of a WebSocket: json or bytes.
    #[arg(long, default_value = "json")]
    subprotocol: String,
}

/// What the client saw.
#[derive(Debug)]
pub struct Summary {
    messages: usize,
    elapsed: Duration,
    /// Sorted, in microseconds.
    latencies: Vec<u64>,
    received_bytes: usize,
}

impl Summary {
    /// Returns the fields that the bench reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        let percentile = |percent: usize| {
            let index =
                (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
            self.latencies.get(index).copied().unwrap_or_default()
        };
        format!(
            "{{\"requests\":{},\"seconds\":{},\"p50\":{},\"p99\":{},\"response_bytes\":{}}}",
            self.messages,
            self.elapsed.as_secs_f64(),
            percentile(50),
            percentile(99),
            self.received_bytes / self.messages.max(1)
        )
    }
}

/// Sends the load in `Call` streams.
///
/// # Errors
/// When a connection fails, a stream ends early or an answer does not belong to a message.
pub async fn call(load: &Load) -> Result<Summary, ClientError> {
    let starts = in_flight(load)?;
    let started = Instant::now();
    let runs = starts.into_iter().map(|run| call::run(load.port, run));
    let ended = timeout(RUN_TIMEOUT, try_join_all(runs)).await??;
    Ok(summarize(ended, started.elapsed()))
}

/// Sends the load over WebSockets.
///
/// # Errors
/// As [`call()`].
pub async fn websocket(load: &Load) -> Result<Summary, ClientError> {
    let starts = in_flight(load)?;
    let started = Instant::now();
    let runs = starts
        .into_iter()
        .map(|run| socket::run(load.port, &load.subprotocol, run));
    let ended = timeout(RUN_TIMEOUT, try_join_all(runs)).await??;
    Ok(summarize(ended, started.elapsed()))
}

fn in_flight(load: &Load) -> Result<Vec<InFlight>, ClientError> {
    let template: Bytes = std::fs::read(&load.message)?.into();
    let share = load.messages / load.connections;
    (0..load.connections)
        .map(|_| InFlight::new(&template, share, load.in_flight))
        .collect()
}

fn summarize(ended: Vec<InFlight>, elapsed: Duration) -> Summary {
    let received_bytes = ended.iter().map(InFlight::received_bytes).sum();
    let mut latencies: Vec<_> = ended
        .into_iter()
        .flat_map(InFlight::into_latencies)
        .collect();
    latencies.sort_unstable();
    Summary {
        messages: latencies.len(),
        elapsed,
        latencies,
        received_bytes,
    }
}
