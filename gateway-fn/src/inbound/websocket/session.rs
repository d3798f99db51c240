//! One WebSocket from handshake to close: frames in, answers out as they come.

use std::{num::NonZeroUsize, time::Duration};

use axum::extract::ws::{Message, WebSocket};
use flowgate_proto::DataRequest;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use super::{
    close::Close,
    subprotocol::{Input, Subprotocol},
};
use crate::{error::GatewayError, gateway::Gateway};

/// How long a client may take to answer a close frame before the connection is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) socket: WebSocket,
    pub(super) subprotocol: Subprotocol,
    pub(super) gateway: Gateway,
    /// Requests of this session under way at once; no more frames are read while there are that many.
    pub(super) prefetch: Option<NonZeroUsize>,
    pub(super) stopping: CancellationToken,
}

type Call = BoxFuture<'static, Result<DataRequest, GatewayError>>;

/// The client is gone: there is nobody to say anything to.
struct Gone;

impl Session {
    /// Serves requests until the client ends its input, leaves, or a request fails.
    pub(super) async fn data(mut self) {
        if let Ok(close) = self.serve().await {
            self.close(close).await;
        }
    }

    /// Answers how a dry run went, without waiting for a frame.
    pub(super) async fn dry_run(mut self) {
        let close = match self.gateway.try_dry_run().await {
            Ok(status) => match self.send(self.subprotocol.write_status(&status)).await {
                Ok(()) => Close::done(),
                Err(Gone) => return,
            },
            Err(error) => Close::from(&error),
        };
        self.close(close).await;
    }

    async fn serve(&mut self) -> Result<Close, Gone> {
        let mut calls: FuturesUnordered<Call> = FuturesUnordered::new();
        let mut close_after: Option<Close> = None;
        loop {
            if let Some(close) = close_after.take_if(|_| calls.is_empty()) {
                return Ok(close);
            }
            let reads =
                close_after.is_none() && self.prefetch.is_none_or(|most| calls.len() < most.get());
            tokio::select! {
                Some(outcome) = calls.next() => match outcome {
                    Ok(answer) => match self.subprotocol.write(&answer) {
                        Ok(frame) => self.send(frame).await?,
                        Err(close) => return Ok(close),
                    },
                    Err(error) => return Ok(Close::from(&error)),
                },
                frame = self.socket.recv(), if reads => match self.take(frame)? {
                    Ok(Input::Request(request)) => calls.push(self.call(*request)),
                    Ok(Input::End) => close_after = Some(Close::done()),
                    Ok(Input::Ignored) => {}
                    Err(close) => return Ok(close),
                },
                () = self.stopping.cancelled(), if close_after.is_none() => {
                    close_after = Some(Close::going_away());
                }
            }
        }
    }

    /// What a frame, or its absence, means.
    fn take(
        &self,
        frame: Option<Result<Message, axum::Error>>,
    ) -> Result<Result<Input, Close>, Gone> {
        match frame {
            None | Some(Ok(Message::Close(_))) => Err(Gone),
            Some(Ok(frame)) => Ok(self.subprotocol.read(&frame)),
            Some(Err(error)) => Ok(Err(Close::from(error))),
        }
    }

    fn call(&self, request: DataRequest) -> Call {
        let gateway = self.gateway.clone();
        async move { gateway.handle(request).await }.boxed()
    }

    async fn send(&mut self, frame: Message) -> Result<(), Gone> {
        self.socket.send(frame).await.map_err(|_| Gone)
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
