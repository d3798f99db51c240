//! One HTTP/2 connection to a peer, driven by a task of its own until it ends.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use flowgate_server::{
    buffered::{Buffered, flushing},
    ping::{self, Pinged},
};
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use h2::{
    PingPong,
    client::{Builder, Connection, SendRequest},
};
use http::uri::Authority;
use tokio::sync::oneshot;

use super::connect::{Address, ConnectError, Stream};

/// The largest headers and trailers that are accepted, in bytes. gRPC servers send at most 16 KiB by default.
pub(super) const MAX_HEADER_BYTES: u32 = 64 << 10;

/// Flow control windows, so that large documents do not wait for a round trip each.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Large frames for large documents: each one costs a step of the connection's task.
const MAX_FRAME_BYTES: u32 = 256 << 10;

/// How often a connection is pinged at first. A gRPC server with default settings ends the connection of a client that
/// pings more often; peers that are gone are noticed earlier by TCP's own probes.
const PING_INTERVAL: Duration = Duration::from_secs(5 * 60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How often the connections to a peer are pinged, shared by all of them: a peer that says `too_many_pings` gets half as
/// many from then on.
#[derive(Clone, Debug)]
pub(super) struct PingPace(Arc<AtomicU32>);

impl Default for PingPace {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(1)))
    }
}

impl PingPace {
    fn interval(&self) -> Duration {
        PING_INTERVAL * self.0.load(Ordering::Relaxed)
    }

    fn slow_down(&self) {
        let factor = self.0.load(Ordering::Relaxed);
        self.0
            .store(factor.saturating_mul(2).min(64), Ordering::Relaxed);
    }
}

/// How long it may take to open a connection: to resolve the name, for TCP and TLS, and until the first ping is answered. A
/// process that hangs still accepts TCP connections, because the kernel does so for it, so that only the ping shows it. Far
/// longer than a healthy peer needs, which answers pings apart from its work, and short enough that an attempt at another
/// replica still helps the client.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one address has before the next one of the same name is tried beside it (RFC 8305, section 5). One that hangs or
/// is unreachable then costs a fraction of the time to connect.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Opens a connection, starts its task and waits until the peer has answered a ping: until then, a peer that speaks another
/// protocol looks like one that has accepted a call. All connections to an [`Address`] go to the same one of the addresses of
/// its host: if several are opened at the same time, the first one to open decides which.
pub(super) async fn open(
    address: &Address,
    pace: PingPace,
) -> Result<SendRequest<Bytes>, ConnectError> {
    in_time(async {
        let pin = address.pin();
        let candidates = address.candidates(pin).await?;
        let open = |candidate| {
            let (address, pace) = (address.clone(), pace.clone());
            async move {
                let stream = address.connect(candidate).await?;
                open_on(stream, address.host().authority().clone(), pace).await
            }
        };
        let (opened, sender) = first_to_open(candidates, open).await?;
        let decided = address.set_pin(pin, opened);
        if decided == opened {
            return Ok(sender);
        }
        // Closed first, because the calls of this connection would count for another replica.
        drop(sender);
        open(decided).await
    })
    .await
}

/// Opens a connection to the first of several addresses that answers, and drops the others. Each begins when the one before
/// has failed, or has not answered for a while.
async fn first_to_open<T, F: Future<Output = Result<T, ConnectError>>>(
    candidates: Vec<SocketAddr>,
    open: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), ConnectError> {
    let mut candidates = candidates.into_iter();
    let mut opening = FuturesUnordered::new();
    let mut last_error = ConnectError::TimedOut;
    loop {
        if let Some(candidate) = candidates.next() {
            let opened = open(candidate);
            opening.push(async move { (candidate, opened.await) });
        }
        let next_is_due = async {
            match candidates.len() {
                0 => std::future::pending().await,
                _ => tokio::time::sleep(NEXT_ADDRESS_AFTER).await,
            }
        };
        tokio::select! {
            opened = opening.next() => match opened {
                Some((candidate, Ok(opened))) => return Ok((candidate, opened)),
                Some((_, Err(error))) => last_error = error,
                None => return Err(last_error),
            },
            () = next_is_due => {}
        }
    }
}

async fn in_time<T>(
    opening: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let opened = tokio::time::timeout(CONNECT_TIMEOUT, opening).await;
    opened.unwrap_or(Err(ConnectError::TimedOut))
}

async fn open_on(
    stream: Box<dyn Stream>,
    authority: Authority,
    pace: PingPace,
) -> Result<SendRequest<Bytes>, ConnectError> {
    let stream = Buffered::new(stream);
    let flusher = stream.flusher();
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_header_list_size(MAX_HEADER_BYTES)
        .enable_push(false);
    let handshake = builder.handshake::<_, Bytes>(stream).await;
    let (sender, connection) = handshake.map_err(|error| ConnectError::Http2(error.into()))?;
    let (answered, first_answer) = oneshot::channel();
    let task = tokio::spawn(async move {
        let result = flushing(flusher, drive(connection, answered, &pace)).await;
        if let Err(error) = &result {
            tracing::debug!(address = %authority, %error, "connection to executor ended");
        }
        result
    });
    // If this is dropped because it takes too long, the task sees it and closes the connection.
    match first_answer.await {
        Ok(()) => Ok(sender),
        Err(_) => Err(match task.await {
            Ok(Err(error)) => ConnectError::Http2(error.into()),
            Ok(Ok(())) | Err(_) => ConnectError::Closed,
        }),
    }
}

/// How long a peer may allow no requests at all. HTTP/2 lets it only for short durations (RFC 9113, section 6.5.2); then it
/// counts as unreachable. As long as the attempt to connect.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Waits until the request that was sent last has its stream: a peer limits how many are open. Until then it has received
/// nothing of the request.
///
/// # Errors
/// When the peer allows no streams at all for too long.
pub(super) async fn wait_for_stream(mut sender: SendRequest<Bytes>) -> Result<(), ConnectError> {
    let ready = poll_fn(|context| sender.poll_ready(context)).now_or_never();
    if ready.is_some() {
        // An error of the connection is the answer's too, with its reason.
        return Ok(());
    }
    let limits = sender.clone();
    let mut is_paused = limits.current_max_send_streams() == 0;
    loop {
        let ready = poll_fn(|context| sender.poll_ready(context));
        if tokio::time::timeout(MAX_PAUSE, ready).await.is_ok() {
            return Ok(());
        }
        let was_paused = is_paused;
        is_paused = limits.current_max_send_streams() == 0;
        if was_paused && is_paused {
            return Err(ConnectError::NoStreams);
        }
    }
}

/// Reads and writes the connection until it ends, and pings it at the start and then at the interval of `pace`.
async fn drive(
    mut connection: Connection<Buffered<Box<dyn Stream>>, Bytes>,
    answered: oneshot::Sender<()>,
    pace: &PingPace,
) -> Result<(), h2::Error> {
    let pings = connection.ping_pong();
    let result = tokio::select! {
        ended = &mut connection => ended,
        () = ping(pings, answered, pace) => Err(h2::Reason::NO_ERROR.into()),
    };
    // With this reason h2 also ends a connection itself, on which a peer sends too much.
    if let Err(error) = &result
        && error.is_remote()
        && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    {
        pace.slow_down();
    }
    result
}

/// Pings until a ping is not answered in time. Reports the first answer, for which [`open`] waits no longer than
/// [`CONNECT_TIMEOUT`].
async fn ping(pings: Option<PingPong>, answered: oneshot::Sender<()>, pace: &PingPace) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    let mut answered = Some(answered);
    loop {
        let timeout = answered.is_none().then_some(PING_TIMEOUT);
        let pinged = ping::ping(&mut pings, timeout);
        let pinged = match &mut answered {
            Some(answered) => tokio::select! {
                pinged = pinged => pinged,
                () = answered.closed() => return,
            },
            None => pinged.await,
        };
        match pinged {
            Pinged::Answered => {}
            Pinged::Unanswered => return,
            Pinged::Ended => return std::future::pending().await,
        }
        if let Some(answered) = answered.take() {
            // Fails if no call waits for the connection any more.
            let _ = answered.send(());
        }
        tokio::time::sleep(pace.interval()).await;
    }
}

#[cfg(test)]
mod tests;
