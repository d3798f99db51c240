//! One WebSocket from handshake to close: frames in, answers out as they come.

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

/// A client that has said nothing for two of these, not even a pong, is gone.
const PING_INTERVAL: Duration = Duration::from_secs(45);

/// A client that takes nothing of an answer for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(90);

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) socket: WebSocket,
    pub(super) subprotocol: Subprotocol,
    pub(super) gateway: Gateway,
    /// Requests of this session under way at once; one more is read and waits.
    pub(super) prefetch: Option<NonZeroUsize>,
    pub(super) stopping: CancellationToken,
}

type Call = BoxFuture<'static, Result<DataRequest, GatewayError>>;

/// The client is gone: there is nobody to say anything to.
struct Gone;

/// What a session has taken on.
#[derive(Default)]
struct Work {
    calls: FuturesUnordered<Call>,
    /// A request that waits for its turn. While there is one, no more is read.
    parked: Option<DataRequest>,
    /// Set once no more input counts: how to close when all is answered.
    ending: Option<Close>,
}

impl Session {
    /// Serves requests until the client ends its input, leaves, or a request fails.
    pub(super) async fn data(mut self) {
        if let Ok(close) = self.serve().await {
            self.close(close).await;
        }
    }

    /// Answers how a dry run went, without waiting for a frame.
    pub(super) async fn dry_run(mut self) {
        let close = match self
            .gateway
            .try_dry_run(Documents::default(), Context::default())
            .await
        {
            Ok(status) => match self.send(self.subprotocol.write_status(&status)).await {
                Ok(()) => Close::done(),
                Err(Gone) => return,
            },
            Err(error) => Close::from(&error),
        };
        self.close(close).await;
    }

    async fn serve(&mut self) -> Result<Close, Gone> {
        let mut work = Work::default();
        let mut heard = Instant::now();
        let mut pings = interval_at(heard + PING_INTERVAL, PING_INTERVAL);
        loop {
            self.unpark(&mut work);
            if let Some(close) = work.close_when_done() {
                return Ok(close);
            }
            tokio::select! {
                Some(outcome) = work.calls.next() => {
                    if let Some(close) = self.answer(outcome).await? {
                        return Ok(close);
                    }
                    // A client that takes answers is there, whatever it says.
                    heard = Instant::now();
                }
                frame = self.socket.recv(), if work.parked.is_none() => {
                    heard = Instant::now();
                    if let Some(close) = self.take(frame, &mut work)? {
                        return Ok(close);
                    }
                }
                () = self.stopping.cancelled(), if work.ending.is_none() => {
                    work.ending = Some(Close::going_away());
                }
                _ = pings.tick() => {
                    if work.parked.is_none() && heard.elapsed() >= 2 * PING_INTERVAL {
                        return Err(Gone);
                    }
                    self.send(Message::Ping(Bytes::new())).await?;
                }
            }
        }
    }

    /// Takes a frame in. After the end of input frames are still read, because a ping wants its pong and a client
    /// that leaves ends the work, but data counts no more.
    fn take(
        &self,
        frame: Option<Result<Message, axum::Error>>,
        work: &mut Work,
    ) -> Result<Option<Close>, Gone> {
        let frame = match frame {
            None | Some(Ok(Message::Close(_))) => return Err(Gone),
            Some(Err(error)) => return Ok(Some(Close::from(error))),
            Some(Ok(_)) if work.ending.is_some() => return Ok(None),
            Some(Ok(frame)) => frame,
        };
        match self.subprotocol.read(&frame) {
            Ok(Input::Request(request)) => work.parked = Some(*request),
            Ok(Input::End) => work.ending = Some(Close::done()),
            Ok(Input::Ignored) => {}
            Err(close) => return Ok(Some(close)),
        }
        Ok(None)
    }

    fn unpark(&self, work: &mut Work) {
        let has_room = self
            .prefetch
            .is_none_or(|most| work.calls.len() < most.get());
        if let Some(request) = work.parked.take_if(|_| has_room) {
            let gateway = self.gateway.clone();
            work.calls.push(
                async move { gateway.handle_in_turn(request, Context::default()).await }.boxed(),
            );
        }
    }

    async fn answer(
        &mut self,
        outcome: Result<DataRequest, GatewayError>,
    ) -> Result<Option<Close>, Gone> {
        let frame = match outcome {
            Ok(answer) => self.subprotocol.write(&answer),
            Err(error) => Err(Close::from(&error)),
        };
        match frame {
            Ok(frame) => self.send(frame).await.map(|()| None),
            Err(close) => Ok(Some(close)),
        }
    }

    async fn send(&mut self, frame: Message) -> Result<(), Gone> {
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.socket.send(frame)).await;
        sent.map_err(|_| Gone)?.map_err(|_| Gone)
    }

    /// Says goodbye and waits until the client has heard it; closing the socket at once could lose the frame.
    async fn close(mut self, close: Close) {
        let goodbye = async {
            if self.send(close.into()).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await.is_err() {
            tracing::debug!("a client did not answer the close frame");
        }
    }
}

impl Work {
    fn close_when_done(&mut self) -> Option<Close> {
        let done = self.calls.is_empty() && self.parked.is_none();
        self.ending.take_if(|_| done)
    }
}
