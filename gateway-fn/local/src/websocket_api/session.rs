//! One WebSocket from its upgrade to its `$disconnect`: passes the client's messages to the function, and the
//! function's responses and `@connections` messages to the client, within API Gateway's limits.

use std::{sync::Arc, time::Duration};

use flowgate_proto::limits::{MAX_WEBSOCKET_FRAME_BYTES, MAX_WEBSOCKET_MESSAGE_BYTES};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::{Role, WebSocketConfig},
};

use super::{
    api::{self, Api, error_text},
    close::{Close, Socket},
    connections::{Command, Connection},
    event,
};
use crate::{aws::new_id, options::RouteResponses, response::ApiGatewayError};

/// Maximum number of concurrent invocations for one client's messages. At the maximum no further message is read.
const MAX_CONCURRENT_INVOCATIONS: usize = 64;

/// How long the client may take to accept a message before the connection is given up as lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection, the commands to it, and the API that it belongs to.
#[derive(Debug)]
pub(super) struct Session {
    api: Arc<Api>,
    connection: Arc<Connection>,
    commands: mpsc::Receiver<Command>,
    /// The `Host` header of the handshake, which is in the event of `$disconnect`.
    host: String,
}

/// The invocations for the client's messages; each returns the message to send to the client, if any.
type Invocations = JoinSet<Option<String>>;

/// What a session does next.
enum Action {
    /// Invoke the function with the client's message.
    Invoke(String),
    /// Send a message to the client; the sender reports that it is written.
    Send(String, Option<oneshot::Sender<()>>),
}

impl Session {
    pub(super) const fn new(
        api: Arc<Api>,
        connection: Arc<Connection>,
        commands: mpsc::Receiver<Command>,
        host: String,
    ) -> Self {
        Self {
            api,
            connection,
            commands,
            host,
        }
    }

    pub(super) async fn run(mut self, upgrade: OnUpgrade) {
        let close = match upgrade.await {
            Ok(upgraded) => {
                let limits = WebSocketConfig::default()
                    .max_frame_size(Some(MAX_WEBSOCKET_FRAME_BYTES))
                    .max_message_size(Some(MAX_WEBSOCKET_MESSAGE_BYTES));
                let stream = TokioIo::new(upgraded);
                let mut socket = Socket::from_raw_socket(stream, Role::Server, Some(limits)).await;
                let close = self.serve(&mut socket).await;
                self.unregister();
                close.shake_hands(socket).await;
                close
            }
            Err(_) => Close::lost(),
        };
        self.unregister();
        let event = event::disconnect(&self.api.stage, &self.connection, &self.host, &close);
        // At a stop the function may have no runtime left that could take the event.
        let stopping = &self.api.shutdown.stopping;
        let result = stopping.run_until_cancelled(self.api.invoke(&event)).await;
        if let Some(Err(ApiGatewayError(_, error))) = result {
            tracing::debug!(error, "invocation for $disconnect failed");
        }
    }

    /// Removes the connection: `@connections` responds that it is gone, also to commands that wait.
    fn unregister(&mut self) {
        self.api.connections.remove(&self.connection.id);
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
    }

    async fn serve(&mut self, socket: &mut Socket) -> Close {
        let opened_at = Instant::now();
        let mut last_active_at = opened_at;
        let mut invocations = Invocations::new();
        let close = loop {
            let timeouts = self.api.timeouts;
            let deadline = (last_active_at + timeouts.websocket_idle)
                .min(opened_at + timeouts.websocket_duration);
            let action = match self.next_action(socket, &mut invocations, deadline).await {
                Ok(Some(action)) => action,
                Ok(None) => continue,
                Err(close) => break close,
            };
            match action {
                Action::Invoke(message) => {
                    let (api, connection) = (Arc::clone(&self.api), Arc::clone(&self.connection));
                    invocations.spawn(handle_message(api, connection, message));
                }
                Action::Send(message, written) => {
                    if let Err(close) = self.send(socket, message).await {
                        break close;
                    }
                    if let Some(written) = written {
                        // Fails if the caller of `@connections` has disconnected.
                        let _ = written.send(());
                    }
                }
            }
            last_active_at = Instant::now();
            self.connection.mark_active();
        };
        // Running invocations continue, as on AWS.
        invocations.detach_all();
        close
    }

    /// Waits for the next event on the connection. Returns `None` for an event that needs no action and does not keep
    /// an idle connection open.
    async fn next_action(
        &mut self,
        socket: &mut Socket,
        invocations: &mut Invocations,
        deadline: Instant,
    ) -> Result<Option<Action>, Close> {
        tokio::select! {
            frame = socket.next(), if invocations.len() < MAX_CONCURRENT_INVOCATIONS => {
                Ok(read_frame(frame)?.map(Action::Invoke))
            }
            Some(response) = invocations.join_next() => {
                Ok(response.ok().flatten().map(|message| Action::Send(message, None)))
            }
            command = self.commands.recv() => match command {
                Some(Command::Send(message, written)) => Ok(Some(Action::Send(message, Some(written)))),
                Some(Command::Close) => Err(Close::deleted()),
                None => Err(Close::lost()),
            },
            () = tokio::time::sleep_until(deadline) => Err(Close::going_away()),
            () = self.api.shutdown.stopping.cancelled() => Err(Close::going_away()),
        }
    }

    async fn send(&self, socket: &mut Socket, message: String) -> Result<(), Close> {
        let sending = tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::text(message)));
        let stopping = &self.api.shutdown.stopping;
        match stopping.run_until_cancelled(sending).await {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(_)) | Err(_)) => Err(Close::lost()),
            None => Err(Close::going_away()),
        }
    }
}

/// Returns a text message, or `None` for a ping or a pong, which do not count as activity. Pings are answered by the
/// WebSocket library.
fn read_frame(frame: Option<Result<Message, tungstenite::Error>>) -> Result<Option<String>, Close> {
    match frame {
        Some(Ok(Message::Text(text))) => Ok(Some(text.as_str().to_owned())),
        Some(Ok(Message::Binary(_))) => Err(Close::binary_frame()),
        Some(Ok(Message::Close(frame))) => Err(Close::by_client(frame)),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Err(error)) => Err(Close::unreadable(&error)),
        None => Err(Close::lost()),
    }
}

/// Invokes the function with a client's message. Returns the message to send to the client, if any.
async fn handle_message(
    api: Arc<Api>,
    connection: Arc<Connection>,
    message: String,
) -> Option<String> {
    let request_id = new_id();
    let route = api.route(&message);
    let event = event::message(&api.stage, &connection, route, &request_id, &message);
    let error = match api.invoke(&event).await {
        Ok((_, response)) => match (api.route_responses, response["body"].as_str()) {
            (RouteResponses::Disabled, _) | (_, None | Some("")) => return None,
            (RouteResponses::Enabled, Some(body)) if body.len() <= MAX_WEBSOCKET_MESSAGE_BYTES => {
                return Some(body.to_owned());
            }
            (RouteResponses::Enabled, Some(body)) => {
                tracing::warn!(
                    request_id,
                    bytes = body.len(),
                    max_bytes = MAX_WEBSOCKET_MESSAGE_BYTES,
                    "response too large for a message"
                );
                api::FAILED
            }
        },
        Err(error) => error,
    };
    let ApiGatewayError(_, text) = error;
    Some(error_text(text, &connection.id, &request_id))
}
