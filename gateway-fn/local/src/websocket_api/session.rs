//! One WebSocket from its upgrade to its `$disconnect`: messages to the function and its answers back, with the limits
//! of API Gateway. Codes 1009 and 1003 are those of its quotas and of its refusal of binary frames; 1001 "Going away"
//! after ten idle minutes and 1000 "Connection Closed Normally" after a DELETE are what its recorded events say
//! (aws/chalice#2060). The reasons of the other closes are this program's own.

use std::{sync::Arc, time::Duration};

use flowgate_proto::limits::{MAX_WEBSOCKET_FRAME_BYTES, MAX_WEBSOCKET_MESSAGE_BYTES};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::AsyncReadExt as _,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use super::{Api, Fault};
use crate::{
    RouteResponses,
    connections::{Connection, Order},
    moment,
};

/// Messages of one client that the function works on at once; more are read when one is answered.
const IN_FLIGHT: usize = 64;

/// How long a client may take to answer a close frame before the connection is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it must be silent before a connection whose frames are no longer read is dropped: to close on unread
/// bytes would reset it, and the client might lose the close frame.
const SILENCE: Duration = Duration::from_millis(250);

/// A client that takes nothing of a message for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A connection with what comes to it from both sides.
#[derive(Debug)]
pub(super) struct Session {
    api: Arc<Api>,
    connection: Arc<Connection>,
    orders: mpsc::Receiver<Order>,
    host: String,
}

/// How a WebSocket ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: u16,
    pub(super) reason: String,
    goodbye: Goodbye,
}

/// What is still to be said to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goodbye {
    /// The client has closed; the answer to that is under way.
    Answered,
    /// A close frame, and then its answer is waited for.
    Sent,
    /// A close frame, and what comes then cannot be read as frames any more.
    SentAmidAFrame,
    /// The client is gone.
    Impossible,
}

impl Session {
    pub(super) const fn new(
        api: Arc<Api>,
        connection: Arc<Connection>,
        orders: mpsc::Receiver<Order>,
        host: String,
    ) -> Self {
        Self {
            api,
            connection,
            orders,
            host,
        }
    }

    pub(super) async fn run(mut self, upgrade: OnUpgrade) {
        let end = match upgrade.await {
            Ok(upgraded) => {
                let limits = WebSocketConfig::default()
                    .max_frame_size(Some(MAX_WEBSOCKET_FRAME_BYTES))
                    .max_message_size(Some(MAX_WEBSOCKET_MESSAGE_BYTES));
                let io = TokioIo::new(upgraded);
                let mut socket =
                    WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await;
                let end = self.serve(&mut socket).await;
                self.leave();
                end.say(socket).await;
                end
            }
            Err(_) => End::lost(),
        };
        self.leave();
        let event = self
            .api
            .events
            .disconnect(&self.connection, &self.host, &end);
        // Nobody may be there to take it when all stops.
        let asked = self.api.ask(&event);
        if let Some(Err(fault)) = self.api.stopping.run_until_cancelled(asked).await {
            tracing::debug!("$disconnect: {}", fault.text());
        }
    }

    /// From here on a post finds it gone.
    fn leave(&mut self) {
        self.api.connections.remove(&self.connection.id);
        self.orders.close();
        while self.orders.try_recv().is_ok() {}
    }

    async fn serve(&mut self, socket: &mut Socket) -> End {
        let begun = Instant::now();
        let mut active = begun;
        let mut calls: Calls = JoinSet::new();
        let end = loop {
            let next = match self.next(socket, &mut calls, begun, active).await {
                Ok(Some(next)) => next,
                Ok(None) => continue,
                Err(end) => break end,
            };
            match next {
                Next::Ask(text) => {
                    let (api, connection) = (Arc::clone(&self.api), Arc::clone(&self.connection));
                    calls.spawn(answered(api, connection, text));
                }
                Next::Send(text, done) => {
                    if let Err(end) = self.send(socket, text).await {
                        break end;
                    }
                    if let Some(done) = done {
                        // Whoever posted may have gone.
                        let _ = done.send(());
                    }
                }
            }
            active = Instant::now();
            self.connection.note_active();
        };
        // The function works on, as it does on AWS.
        calls.detach_all();
        end
    }

    /// What is to be done next, if anything.
    async fn next(
        &mut self,
        socket: &mut Socket,
        calls: &mut Calls,
        begun: Instant,
        active: Instant,
    ) -> Result<Option<Next>, End> {
        let times = self.api.times;
        let until = (active + times.idle).min(begun + times.duration);
        tokio::select! {
            frame = socket.next(), if calls.len() < IN_FLIGHT => Ok(read(frame)?.map(Next::Ask)),
            Some(answer) = calls.join_next() => Ok(answer.ok().flatten().map(|text| Next::Send(text, None))),
            order = self.orders.recv() => match order {
                Some(Order::Send(text, done)) => Ok(Some(Next::Send(text, Some(done)))),
                Some(Order::Close) => Err(End::because(1000, "Connection Closed Normally")),
                None => Err(End::lost()),
            },
            () = tokio::time::sleep_until(until) => Err(End::away()),
            () = self.api.stopping.cancelled() => Err(End::away()),
        }
    }

    async fn send(&self, socket: &mut Socket, text: String) -> Result<(), End> {
        let sent = tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::text(text)));
        match self.api.stopping.run_until_cancelled(sent).await {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(_)) | Err(_)) => Err(End::lost()),
            None => Err(End::away()),
        }
    }
}

/// The answers that are still to come.
type Calls = JoinSet<Option<String>>;

/// What a session does for one side or the other.
enum Next {
    /// The client's message goes to the function.
    Ask(String),
    /// This goes to the client; whoever posted it hears when it is written.
    Send(String, Option<oneshot::Sender<()>>),
}

/// A message's text; nothing for a frame without one.
fn read(frame: Option<Result<Message, tungstenite::Error>>) -> Result<Option<String>, End> {
    match frame {
        Some(Ok(Message::Text(text))) => Ok(Some(text.as_str().to_owned())),
        Some(Ok(Message::Binary(_))) => Err(End::because(1003, "binary frames are not supported")),
        Some(Ok(Message::Close(frame))) => Err(End::closed(frame)),
        // A pong to a ping goes out by itself. Neither is a message, so that neither keeps an idle connection.
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Err(error)) => Err(End::broken(&error)),
        None => Err(End::lost()),
    }
}

/// What the client gets for a message, if anything.
async fn answered(api: Arc<Api>, connection: Arc<Connection>, text: String) -> Option<String> {
    let request_id = moment::id();
    let route = api.route(&text);
    let event = api.events.message(&connection, route, &request_id, &text);
    match api.ask(&event).await {
        Ok(answer) => match (api.responses, answer["body"].as_str()) {
            (RouteResponses::Dropped, _) | (_, None | Some("")) => None,
            (RouteResponses::Sent, Some(body)) if body.len() > MAX_WEBSOCKET_MESSAGE_BYTES => {
                tracing::warn!(
                    bytes = body.len(),
                    "the answer is larger than a message may be"
                );
                Some(Fault::Failed.message(&connection.id, &request_id))
            }
            (RouteResponses::Sent, Some(body)) => Some(body.to_owned()),
        },
        Err(fault) => Some(fault.message(&connection.id, &request_id)),
    }
}

impl Api {
    /// The route of a message: the one that its JSON names, if there is such a one.
    fn route(&self, message: &str) -> &str {
        let json: Option<Value> = serde_json::from_str(message).ok();
        let selected = json.as_ref().and_then(|json| {
            let mut names = self.selection.path.iter();
            names.try_fold(json, |value, name| value.get(name))
        });
        let selected = selected.and_then(Value::as_str);
        let known = self
            .routes
            .iter()
            .find(|route| Some(route.as_str()) == selected);
        known.map_or("$default", String::as_str)
    }
}

impl End {
    fn because(code: u16, reason: &str) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            goodbye: Goodbye::Sent,
        }
    }

    fn away() -> Self {
        Self::because(1001, "Going away")
    }

    fn closed(frame: Option<CloseFrame>) -> Self {
        match frame {
            Some(frame) => Self {
                code: frame.code.into(),
                reason: frame.reason.as_str().to_owned(),
                goodbye: Goodbye::Answered,
            },
            None => Self::without_status(),
        }
    }

    /// The client closed and did not say why; the text is AWS's.
    pub(super) fn without_status() -> Self {
        Self {
            code: 1005,
            reason: "Client-side close frame status not set".to_owned(),
            goodbye: Goodbye::Answered,
        }
    }

    /// The connection broke off.
    fn lost() -> Self {
        Self {
            code: 1006,
            reason: "Connection closed abnormally".to_owned(),
            goodbye: Goodbye::Impossible,
        }
    }

    fn broken(error: &tungstenite::Error) -> Self {
        let (code, reason) = match error {
            tungstenite::Error::Capacity(_) => (1009, "the frame or the message is too large"),
            tungstenite::Error::Utf8(_) => (1007, "a text frame is not UTF-8"),
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                return Self::lost();
            }
            tungstenite::Error::Protocol(_) => (1002, "the frame breaks the protocol"),
            _ => return Self::lost(),
        };
        Self {
            goodbye: Goodbye::SentAmidAFrame,
            ..Self::because(code, reason)
        }
    }

    /// Says goodbye, and lets the client hear it.
    async fn say(&self, mut socket: Socket) {
        let frame = CloseFrame {
            code: self.code.into(),
            reason: self.reason.as_str().into(),
        };
        let goodbye = async {
            match self.goodbye {
                Goodbye::Impossible => {}
                Goodbye::Answered => while let Some(Ok(_)) = socket.next().await {},
                Goodbye::Sent => {
                    if socket.close(Some(frame)).await.is_ok() {
                        while let Some(Ok(_)) = socket.next().await {}
                    }
                }
                Goodbye::SentAmidAFrame => {
                    if socket.close(Some(frame)).await.is_ok() {
                        drain(&mut socket).await;
                    }
                }
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await.is_err() {
            tracing::debug!("a client did not answer the close frame");
        }
    }
}

async fn drain(socket: &mut Socket) {
    let mut bytes = vec![0; 16 << 10];
    let raw = socket.get_mut();
    while let Ok(Ok(1..)) = tokio::time::timeout(SILENCE, raw.read(&mut bytes)).await {}
}
