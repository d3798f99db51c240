//! Serves one WebSocket from handshake to close: reads messages and sends answers as they complete.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use flowgate_grpc::{MinRate, wait_for_last_request};
use flowgate_websocket::{Disconnected, Message, Received, Socket};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    call::{self, Counted, Outcome, StartedCall, payload_bytes},
    close::Close,
    pace::Pace,
    subprotocol::Subprotocol,
    work::{Work, WorkLimits},
};
use crate::gateway::Gateway;

/// How long a client may take to answer a close frame, or to close after its own, before the connection is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the session reads on and discards when it closes after an invalid frame or within a message, so that the close
/// frame arrives. As long as an HTTP/1 connection lingers.
const LINGER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a session reads on when the Gateway stops and the client sends without a pause.
const MAX_INPUT_AT_STOP: Duration = Duration::from_secs(2);

/// The interval between pings. A client that sends nothing for two intervals, not even a pong, has disconnected.
const PING_INTERVAL: Duration = Duration::from_secs(45);

/// The most answers that are collected before they are sent together.
const MAX_BATCH: usize = 32;

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct Session<I> {
    pub(super) socket: Socket<I>,
    pub(super) subprotocol: Subprotocol,
    pub(super) gateway: Gateway,
    pub(super) limits: WorkLimits,
    pub(super) min_rate: MinRate,
    pub(super) stopping: CancellationToken,
}

/// How a session ends.
enum Ending {
    /// The client has disconnected, so no close frame is sent.
    Disconnected,
    /// The client does not read its answers, so it would not read a close frame either.
    TooSlow,
    /// The client has sent a close frame.
    ByClient(Received),
    /// The client has sent something that is not a valid frame.
    Invalid(Received, Close),
    /// The session is over for another reason.
    Close(Close),
}

/// Tracks how long a client has been silent, and when to ping it.
struct Liveness {
    last_activity: Instant,
    /// The bytes that had been received then.
    received_bytes: u64,
    pings: Interval,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Session<I> {
    /// Serves requests until the client ends its input or disconnects, or a request fails.
    pub(super) async fn serve_data(self) {
        self.run(Work::new()).await;
    }

    /// Sends the outcome of a dry run without waiting for a message.
    pub(super) async fn serve_dry_run(self) {
        let dry_run = call::begin_dry_run(&self.gateway, self.subprotocol);
        self.run(Work::only(dry_run)).await;
    }

    async fn run(mut self, work: Work) {
        let mut pace = Pace::new(self.min_rate);
        let mut ending = self.serve(work, &mut pace).await;
        if let Ending::Close(close) = ending {
            ending = self.drain(close, &mut pace).await;
        }
        let (close, last, timeout) = match ending {
            Ending::Disconnected => return,
            Ending::TooSlow => {
                let unread_bytes = self.socket.unsent_bytes();
                tracing::info!(
                    unread_bytes,
                    "WebSocket dropped: the client does not read its answers"
                );
                return;
            }
            Ending::ByClient(last) => {
                let answer = match &last {
                    Received::Close(close) => close.clone(),
                    Received::Message(_)
                    | Received::Alive
                    | Received::Refused(_)
                    | Received::Invalid(_) => None,
                };
                // The client does not wait for answers any more.
                self.socket.discard_unsent();
                (answer, Some(last), CLOSE_TIMEOUT)
            }
            Ending::Invalid(last, close) => (Some(close.into()), Some(last), LINGER_TIMEOUT),
            Ending::Close(close) => {
                let timeout = match self.socket.is_within_message() {
                    true => LINGER_TIMEOUT,
                    false => CLOSE_TIMEOUT,
                };
                (Some(close.into()), None, timeout)
            }
        };
        let Self {
            socket, stopping, ..
        } = self;
        let stop = async {
            stopping.cancelled().await;
            tokio::time::sleep(CLOSE_TIMEOUT).await;
        };
        let is_closed = tokio::select! {
            is_closed = socket.close(close, last.as_ref(), timeout) => is_closed,
            () = stop => false,
        };
        if !is_closed {
            tracing::debug!("the client did not close its side of the WebSocket in time");
        }
    }

    /// Serves until the session ends. What is in flight then is cancelled.
    async fn serve(&mut self, mut work: Work, pace: &mut Pace) -> Ending {
        let mut liveness = Liveness::new();
        let stopping = self.stopping.clone();
        // What the client has sent before it could know of the stop is answered.
        let mut last_message = pin!(wait_for_last_request(&stopping).fuse());
        let mut input_end = pin!(
            async {
                stopping.cancelled().await;
                tokio::time::sleep(MAX_INPUT_AT_STOP).await;
            }
            .fuse()
        );
        loop {
            if let Err(ending) = self.start_waiting(&mut work) {
                return ending;
            }
            if let Some(close) = work.close_if_idle() {
                return Ending::Close(close);
            }
            let max_unsent_bytes = work.has_room().then_some(self.limits.max_unread_bytes / 2);
            // The client may read enough for a waiting message to start, while nothing else happens.
            let drained_bytes =
                work.max_unread_bytes_to_start(self.limits, self.gateway.fair_share());
            if max_unsent_bytes.is_none_or(|max| self.socket.unsent_bytes() > max) {
                pace.note_held_up();
            }
            let step = tokio::select! {
                Some(outcome) = work.calls.next() => {
                    // A client that gets answers is connected, even if it sends nothing.
                    liveness.note_activity(self.socket.received_bytes());
                    self.take_outcomes(outcome, &mut work)
                }
                received = async {
                    tokio::select! {
                        biased;
                        received = self.socket.receive_or_drain(max_unsent_bytes, drained_bytes) => Some(received),
                        () = &mut last_message => None,
                    }
                } => match received {
                    Some(received) => {
                        liveness.note_activity(self.socket.received_bytes());
                        self.take_received(received, pace, &mut work)
                    }
                    None => {
                        work.end_input(Close::going_away());
                        Ok(())
                    }
                },
                () = &mut input_end => {
                    work.end_input(Close::going_away());
                    Ok(())
                }
                _ = liveness.pings.tick() => {
                    // A client that is held up, or has yet to read what came before a ping, cannot be expected to answer.
                    let is_held_up = !work.has_room() || self.socket.unsent_bytes() > 0;
                    let received_bytes = self.socket.received_bytes();
                    liveness.check(is_held_up, received_bytes).map(|()| self.ping())
                }
                () = pace.tick() => {
                    self.check_pace(pace).and_then(|()| self.check_message_pace(pace))
                }
            };
            if let Err(ending) = step {
                return ending;
            }
        }
    }

    /// Sends the answers that are queued, for as long as the client reads them.
    async fn drain(&mut self, close: Close, pace: &mut Pace) -> Ending {
        let max_unsent_bytes = Some(self.limits.max_unread_bytes / 2);
        loop {
            let step = tokio::select! {
                drained = self.socket.drain(max_unsent_bytes) => match drained {
                    Ok(None) => return Ending::Close(close),
                    Ok(Some(Received::Message(_) | Received::Alive | Received::Refused(_))) => Ok(()),
                    Ok(Some(last @ Received::Close(_))) => Err(Ending::ByClient(last)),
                    Ok(Some(last @ Received::Invalid(error))) => {
                        Err(Ending::Invalid(last, Close::from(error)))
                    }
                    Err(Disconnected) => Err(Ending::Disconnected),
                },
                () = pace.tick() => self.check_pace(pace),
            };
            if let Err(ending) = step {
                return ending;
            }
        }
    }

    /// Handles what the client sent. After the end of input, messages are still read, to answer pings and to notice a
    /// disconnect, but data in them is ignored.
    fn take_received(
        &mut self,
        received: Result<Option<Received>, Disconnected>,
        pace: &mut Pace,
        work: &mut Work,
    ) -> Result<(), Ending> {
        match received {
            Err(Disconnected) => Err(Ending::Disconnected),
            // A control frame may come within a message, whose bytes are still arriving.
            Ok(None | Some(Received::Alive)) => Ok(()),
            Ok(Some(Received::Message(message))) => {
                pace.note_message();
                let held = self.socket.take_held();
                work.enqueue(Counted { message, held });
                Ok(())
            }
            // An error message could not say which request failed, because this one has not been read: the session ends once
            // the others are answered.
            Ok(Some(Received::Refused(error))) => {
                work.end_input(Close::overloaded(&error.to_string()));
                Ok(())
            }
            Ok(Some(last @ Received::Close(_))) => Err(Ending::ByClient(last)),
            Ok(Some(last @ Received::Invalid(error))) => {
                Err(Ending::Invalid(last, Close::from(error)))
            }
        }
    }

    fn check_pace(&self, pace: &mut Pace) -> Result<(), Ending> {
        match pace.is_too_slow(self.socket.sent_bytes(), self.socket.unsent_bytes()) {
            true => Err(Ending::TooSlow),
            false => Ok(()),
        }
    }

    /// Ends the session of a client that sends only a part of a message, whose bytes it would hold for ever.
    fn check_message_pace(&self, pace: &mut Pace) -> Result<(), Ending> {
        match pace.is_message_too_slow(self.socket.partial_bytes()) {
            true => Err(Ending::Close(Close::invalid(&pace.message_error()))),
            false => Ok(()),
        }
    }

    /// Queues a ping, unless answers wait: then the client is not idle.
    fn ping(&mut self) {
        if self.socket.unsent_bytes() == 0 {
            self.socket.push(Message::Ping(Bytes::new()));
        }
    }

    /// Starts as many of the waiting messages as the limits allow.
    fn start_waiting(&mut self, work: &mut Work) -> Result<(), Ending> {
        loop {
            let (share, unread_bytes) = (self.gateway.fair_share(), self.socket.unsent_bytes());
            let Some(message) = work.next_message(self.limits, share, unread_bytes) else {
                return Ok(());
            };
            match call::begin(&self.gateway, self.subprotocol, message) {
                StartedCall::Call(call) => work.calls.push(call),
                StartedCall::Done(outcome) => self.take_outcome(outcome, work)?,
            }
        }
    }

    /// Takes the outcome of a call, and those of others that are ready too: their answers are sent together.
    fn take_outcomes(&mut self, first: Outcome, work: &mut Work) -> Result<(), Ending> {
        self.take_outcome(first, work)?;
        for _ in 1..MAX_BATCH {
            match work.calls.next().now_or_never() {
                Some(Some(outcome)) => self.take_outcome(outcome, work)?,
                Some(None) | None => break,
            }
        }
        Ok(())
    }

    fn take_outcome(&mut self, outcome: Outcome, work: &mut Work) -> Result<(), Ending> {
        match outcome {
            Outcome::Answer(answer) => {
                work.note_answer(payload_bytes(&answer));
                let before = self.socket.unsent_bytes();
                self.socket.push(answer);
                self.check_unread(before)
            }
            Outcome::Ignored => Ok(()),
            Outcome::End => {
                work.end_input_here(Close::normal());
                Ok(())
            }
            Outcome::Refused(close) => {
                work.refuse(close);
                Ok(())
            }
            Outcome::Failed(close) => Err(Ending::Close(close)),
        }
    }

    /// Ends the session if too many bytes of answers wait. A single answer may be larger, also behind the rest of another:
    /// its request may start when so few bytes wait. `before` are the bytes that waited before the last answer.
    fn check_unread(&mut self, before: usize) -> Result<(), Ending> {
        let limit = self.limits.max_unread_bytes;
        if self.socket.unsent_bytes() <= limit || before <= limit / 2 {
            return Ok(());
        }
        self.socket.discard_unsent();
        Err(Ending::Close(Close::invalid(&format!(
            "more than {limit} bytes of answers wait to be read (max_unread_bytes)"
        ))))
    }
}

impl Liveness {
    fn new() -> Self {
        let now = Instant::now();
        let mut pings = interval_at(now + PING_INTERVAL, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            last_activity: now,
            received_bytes: 0,
            pings,
        }
    }

    fn note_activity(&mut self, received_bytes: u64) {
        self.last_activity = Instant::now();
        self.received_bytes = received_bytes;
    }

    /// Ends the session of a client that has been silent for too long, unless it is held up. A client that is sending a large
    /// frame is not silent, although it cannot answer a ping meanwhile.
    fn check(&mut self, is_held_up: bool, received_bytes: u64) -> Result<(), Ending> {
        if is_held_up || received_bytes != self.received_bytes {
            self.note_activity(received_bytes);
        }
        match self.last_activity.elapsed() < 2 * PING_INTERVAL {
            true => Ok(()),
            false => Err(Ending::Disconnected),
        }
    }
}

#[cfg(test)]
mod tests;
