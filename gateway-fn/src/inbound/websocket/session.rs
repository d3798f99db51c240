//! Serves one WebSocket from handshake to close: reads frames and sends answers as they complete.

use std::{num::NonZeroUsize, time::Duration};

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use flowgate_proto::{DataRequest, Documents};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

use super::{
    close::Close,
    subprotocol::{Input, Subprotocol},
};
use crate::{context::Context, error::GatewayError, gateway::Gateway};

/// How long a client may take to answer a close frame before the connection is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval between pings. A client that sends nothing for two intervals, not even a pong, has disconnected.
const PING_INTERVAL: Duration = Duration::from_secs(45);

/// How long a client may take to receive a frame before it is treated as disconnected.
const SEND_TIMEOUT: Duration = Duration::from_secs(90);

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) socket: WebSocket,
    pub(super) subprotocol: Subprotocol,
    pub(super) gateway: Gateway,
    /// The limit of requests in flight; one more is read and waits.
    pub(super) prefetch: Option<NonZeroUsize>,
    pub(super) stopping: CancellationToken,
}

type Call = BoxFuture<'static, Result<DataRequest, GatewayError>>;

/// The client has disconnected, so no close frame is sent.
struct Disconnected;

/// The requests of a session that have no answer yet.
#[derive(Default)]
struct Work {
    calls: FuturesUnordered<Call>,
    /// A request above the limit. No more frames are read until it starts.
    waiting: Option<DataRequest>,
    /// How to close once every request is answered; set when the input has ended.
    pending_close: Option<Close>,
}

impl Session {
    /// Serves requests until the client ends its input or disconnects, or a request fails.
    pub(super) async fn serve_data(mut self) {
        if let Ok(close) = self.serve().await {
            self.close(close).await;
        }
    }

    /// Sends the outcome of a dry run without waiting for a frame.
    pub(super) async fn serve_dry_run(mut self) {
        let close = match self
            .gateway
            .try_dry_run(Documents::default(), Context::default())
            .await
        {
            Ok(status) => match self.send(self.subprotocol.write_status(&status)).await {
                Ok(()) => Close::normal(),
                Err(Disconnected) => return,
            },
            Err(error) => Close::from(&error),
        };
        self.close(close).await;
    }

    async fn serve(&mut self) -> Result<Close, Disconnected> {
        let mut work = Work::default();
        let mut last_activity = Instant::now();
        let mut pings = interval_at(last_activity + PING_INTERVAL, PING_INTERVAL);
        loop {
            self.start_waiting(&mut work);
            if let Some(close) = work.close_if_idle() {
                return Ok(close);
            }
            tokio::select! {
                Some(outcome) = work.calls.next() => {
                    if let Some(close) = self.send_answer(outcome).await? {
                        return Ok(close);
                    }
                    // A client that receives answers is connected, even if it sends nothing.
                    last_activity = Instant::now();
                }
                frame = self.socket.recv(), if work.waiting.is_none() => {
                    last_activity = Instant::now();
                    if let Some(close) = self.receive(frame, &mut work)? {
                        return Ok(close);
                    }
                }
                () = self.stopping.cancelled(), if work.pending_close.is_none() => {
                    work.pending_close = Some(Close::going_away());
                }
                _ = pings.tick() => {
                    if work.waiting.is_none() && last_activity.elapsed() >= 2 * PING_INTERVAL {
                        return Err(Disconnected);
                    }
                    self.send(Message::Ping(Bytes::new())).await?;
                }
            }
        }
    }

    /// Handles a frame. After the end of input, frames are still read, to answer pings and to notice a disconnect, but
    /// data in them is ignored.
    fn receive(
        &self,
        frame: Option<Result<Message, axum::Error>>,
        work: &mut Work,
    ) -> Result<Option<Close>, Disconnected> {
        let frame = match frame {
            None | Some(Ok(Message::Close(_))) => return Err(Disconnected),
            Some(Err(error)) => return Ok(Some(Close::from(error))),
            Some(Ok(_)) if work.pending_close.is_some() => return Ok(None),
            Some(Ok(frame)) => frame,
        };
        match self.subprotocol.read(&frame, self.gateway.decode_limits()) {
            Ok(Input::Request(request)) => work.waiting = Some(*request),
            Ok(Input::End) => work.pending_close = Some(Close::normal()),
            Ok(Input::Ignored) => {}
            Err(close) => return Ok(Some(close)),
        }
        Ok(None)
    }

    /// Starts the waiting request if the limit allows it.
    fn start_waiting(&self, work: &mut Work) {
        let has_room = self
            .prefetch
            .is_none_or(|limit| work.calls.len() < limit.get());
        if let Some(request) = work.waiting.take_if(|_| has_room) {
            let gateway = self.gateway.clone();
            work.calls.push(
                async move { gateway.handle_in_turn(request, Context::default()).await }.boxed(),
            );
        }
    }

    /// Sends an answer, or returns how to close if the request failed.
    async fn send_answer(
        &mut self,
        outcome: Result<DataRequest, GatewayError>,
    ) -> Result<Option<Close>, Disconnected> {
        let frame = match outcome {
            Ok(answer) => self.subprotocol.write(&answer),
            Err(error) => Err(Close::from(&error)),
        };
        match frame {
            Ok(frame) => self.send(frame).await.map(|()| None),
            Err(close) => Ok(Some(close)),
        }
    }

    async fn send(&mut self, frame: Message) -> Result<(), Disconnected> {
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.socket.send(frame)).await;
        sent.map_err(|_| Disconnected)?.map_err(|_| Disconnected)
    }

    /// Sends a close frame and waits for the client's close frame; dropping the socket at once could lose the frame.
    async fn close(mut self, close: Close) {
        let handshake = async {
            if self.send(close.into()).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, handshake)
            .await
            .is_err()
        {
            tracing::debug!("the client did not answer the close frame");
        }
    }
}

impl Work {
    fn close_if_idle(&mut self) -> Option<Close> {
        let is_idle = self.calls.is_empty() && self.waiting.is_none();
        self.pending_close.take_if(|_| is_idle)
    }
}
