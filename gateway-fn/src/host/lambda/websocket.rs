//! Events of an API Gateway WebSocket API -> the Gateway, and its answers back to the client: as the function's own
//! answer, or by `@connections`.

mod answer;

mod call;

mod connect;

mod connections;

mod event;

mod fault;

mod message;

mod push;

mod work;

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flowgate_proto::{DataRequest, limits};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::{
    answer::Bounds,
    call::{CallError, Sdk},
    connect::Choice,
    connections::Connections,
    event::{Connection, Event, Route},
    fault::Fault,
    message::{Meaning, Message},
    push::{HandedOver, Itself},
    work::{TakenOn, Work},
};
use crate::{
    config::{GatewayConfig, Protocol, WebSocketConfig},
    context::Context,
    gateway::Gateway,
    inbound::websocket::subprotocol::{Input, Subprotocol},
};

/// The WebSocket side of the function.
#[derive(Debug)]
pub(super) struct WebSocketEvents {
    gateway: Gateway,
    config: WebSocketConfig,
    /// Where `@connections` is, whatever an event says.
    connections_url: Option<String>,
    region: Option<String>,
    sdk: Sdk,
    connections: Connections,
    itself: Itself,
    work: Work,
    taken_on: TakenOn,
}

impl WebSocketEvents {
    /// Builds no AWS client yet: one whose answers are all route responses needs none.
    pub(super) fn new(
        gateway: Gateway,
        config: &GatewayConfig,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let config = config.function.websocket.clone();
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        Self {
            gateway,
            connections_url: config
                .connections_url
                .clone()
                .or_else(|| set("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI")),
            config,
            region: set("AWS_REGION"),
            sdk: Sdk::OfProcess,
            connections: Connections::default(),
            itself: Itself::default(),
            work: Work::default(),
            taken_on: TakenOn::default(),
        }
    }

    /// Answers an event of API Gateway with what a Lambda proxy integration is to answer.
    pub(super) async fn handle(
        &self,
        event: Value,
        lambda: &lambda_runtime::Context,
        context: &Context,
    ) -> Value {
        let event: Event = match serde_json::from_value(event) {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "an event that is none of a WebSocket API");
                return json!({"statusCode": 400});
            }
        };
        match event.route() {
            Route::Connect => self.connect(&event).await,
            Route::Disconnect => {
                self.work.stop(&event.request_context.connection_id);
                done()
            }
            Route::Message => {
                let connection = self.connection(&event);
                let until = event.cut().min(end_of(lambda).unwrap_or_else(far));
                let time = Time::before(until);
                Box::pin(self.message(&event, &connection, time, lambda, context)).await
            }
        }
    }

    /// Takes on a request that the function has handed to itself. What goes wrong is told to the client: if the
    /// invocation failed, AWS would do it all again.
    pub(super) async fn pushed(
        &self,
        event: Value,
        lambda: &lambda_runtime::Context,
        context: &Context,
    ) -> Value {
        match HandedOver::read(event) {
            Ok(request) if self.taken_on.is_new(&request.id) => {
                Box::pin(self.push(request, lambda, context)).await;
            }
            Ok(HandedOver { id, .. }) => tracing::info!(id, "an event came a second time"),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "an asynchronous event cannot be taken on"
            ),
        }
        Value::Null
    }

    /// The one event with headers, and so the one at which a caller can be asked who it is.
    async fn connect(&self, event: &Event) -> Value {
        let headers = event.headers();
        let checked = self
            .gateway
            .auth()
            .check(&headers, Protocol::WebSocket, "/");
        if let Err(refusal) = checked.await {
            return json!({"statusCode": refusal.http_status().as_u16()});
        }
        match connect::choose(event.offered()) {
            Choice::Unasked => done(),
            Choice::Answer(subprotocol) => {
                json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": subprotocol}})
            }
            Choice::Refuse => json!({"statusCode": 400}),
        }
    }

    fn connection(&self, event: &Event) -> Connection {
        let context = &event.request_context;
        let endpoint = self.connections_url.clone();
        Connection {
            id: context.connection_id.clone(),
            endpoint: endpoint.unwrap_or_else(|| context.endpoint(self.region.as_deref())),
        }
    }

    async fn message(
        &self,
        event: &Event,
        connection: &Connection,
        time: Time,
        lambda: &lambda_runtime::Context,
        context: &Context,
    ) -> Value {
        let message = Message::of(event);
        let form = message.form;
        let meaning = match message.read() {
            Ok(meaning) => meaning,
            Err(close) => {
                let id = event.request_context.request_id.clone();
                let reply = Reply::fault(id, form, &Fault::from(&close));
                return self.deliver(connection, reply, time).await;
            }
        };
        let request = match meaning {
            Meaning::Ping(pong) => {
                let id = event.request_context.request_id.clone();
                let reply = Reply::new(id, form, vec![pong.to_owned()]);
                return self.deliver(connection, reply, time).await;
            }
            Meaning::Input(Input::Ignored) => return done(),
            Meaning::Input(Input::End) => return self.end(connection, time).await,
            Meaning::Input(Input::Request(request)) => *request,
        };
        if self.config.push {
            let text = message.into_text();
            let id = request.header.request_id;
            return self
                .hand_over(connection, id, text, form, time, lambda)
                .await;
        }
        let piece = self.work.begin(&connection.id);
        tokio::select! {
            reply = self.ask(request, form, time, context) => {
                self.deliver(connection, reply, time).await
            }
            () = piece.gone() => done(),
        }
    }

    /// The messages that answer a request, or tell why there is no answer.
    async fn ask(
        &self,
        request: DataRequest,
        form: Subprotocol,
        time: Time,
        context: &Context,
    ) -> Reply {
        let id = request.header.request_id.clone();
        let context = Context {
            deadline: Some(time.work),
            ..context.clone()
        };
        let asked = self.gateway.handle(request, context);
        let messages = match tokio::time::timeout_at(time.work, asked).await {
            Ok(Ok(answer)) => answer::write(answer, form, self.bounds()),
            Ok(Err(error)) => Err(Fault::from(&error)),
            Err(_) => Err(Fault::out_of_time()),
        };
        match messages {
            Ok(messages) => Reply::new(id, form, messages),
            Err(fault) => Reply::fault(id, form, &fault),
        }
    }

    /// A single message is the function's own answer, if the API passes that on, and so is the news that others could
    /// not be sent.
    async fn deliver(&self, to: &Connection, mut reply: Reply, time: Time) -> Value {
        if !self.config.route_response {
            // What went wrong is logged, and there is no other way to the client.
            let _ = self.send(to, reply.messages, time).await;
            return done();
        }
        if reply.messages.len() == 1
            && let Some(message) = reply.messages.pop()
        {
            return json!({"statusCode": 200, "body": message});
        }
        match self.send(to, reply.messages, time).await {
            Ok(()) | Err(CallError::Gone) => done(),
            Err(error @ (CallError::Refused { .. } | CallError::NoAnswer)) => {
                let fault = Fault::unavailable(format!("the answer could not be sent: {error}"));
                json!({"statusCode": 200, "body": fault.message(&reply.request_id, reply.form)})
            }
        }
    }

    /// By `@connections`, in their order. When one cannot be sent, those behind it are dropped: parts with a gap are no
    /// answer.
    async fn send(
        &self,
        to: &Connection,
        messages: Vec<String>,
        time: Time,
    ) -> Result<(), CallError> {
        let all = messages.len();
        for (sent, message) in messages.into_iter().enumerate() {
            let posted = self.connections.post(&self.sdk, to, message, time.end);
            let Err(error) = posted.await else { continue };
            match error {
                CallError::Gone => self.work.stop(&to.id),
                CallError::Refused { .. } | CallError::NoAnswer => {
                    tracing::error!(%error, endpoint = to.endpoint, sent, all, "an answer could not be sent");
                }
            }
            return Err(error);
        }
        Ok(())
    }

    /// The client's input is over. A container answers what is under way and closes; here the connection is deleted
    /// when this process does nothing more for it.
    async fn end(&self, connection: &Connection, time: Time) -> Value {
        let idle = self.work.idle(&connection.id);
        if tokio::time::timeout_at(time.work, idle).await.is_err() {
            tracing::warn!("a connection ends while there is work for it");
        }
        let deleted = self.connections.delete(&self.sdk, connection, time.end);
        if let Err(error) = deleted.await {
            tracing::error!(%error, endpoint = connection.endpoint, "a connection could not be ended");
        }
        done()
    }

    async fn hand_over(
        &self,
        connection: &Connection,
        request_id: String,
        text: String,
        form: Subprotocol,
        time: Time,
        lambda: &lambda_runtime::Context,
    ) -> Value {
        let request = HandedOver::new(connection.clone(), request_id, text);
        let name = push::own_name(lambda);
        let invoked = self.itself.invoke(&self.sdk, name, &request, time.end);
        let Err(error) = invoked.await else {
            return done();
        };
        tracing::error!(%error, "a request could not be handed over");
        let fault = Fault::unavailable(error.to_string());
        let reply = Reply::fault(request.request_id, form, &fault);
        self.deliver(connection, reply, time).await
    }

    async fn push(
        &self,
        handed_over: HandedOver,
        lambda: &lambda_runtime::Context,
        context: &Context,
    ) {
        let HandedOver {
            connection,
            request_id,
            message,
            ..
        } = handed_over;
        let message = Message::handed_over(message);
        // It was read once already.
        let Ok(Meaning::Input(Input::Request(mut request))) = message.read() else {
            tracing::error!("an asynchronous event without a request");
            return;
        };
        request.header.request_id = request_id;
        let time = Time::before(end_of(lambda).unwrap_or_else(far));
        let piece = self.work.begin(&connection.id);
        tokio::select! {
            reply = self.ask(*request, message.form, time, context) => {
                // What went wrong is logged, and there is no other way to the client.
                let _ = self.send(&connection, reply.messages, time).await;
            }
            () = piece.gone() => {}
            () = self.left(&connection, time) => tracing::debug!("the client is gone, its work is stopped"),
        }
    }

    /// Comes when the client is known to be gone. An event may have waited for hours, and work goes on for minutes.
    async fn left(&self, connection: &Connection, time: Time) {
        loop {
            match self.connections.get(&self.sdk, connection, time.end).await {
                Err(CallError::Gone) => return,
                // A policy or an emulator that knows no GET: asking again does not help.
                Err(CallError::Refused { .. }) => std::future::pending().await,
                Ok(()) | Err(CallError::NoAnswer) => tokio::time::sleep(GONE_INTERVAL).await,
            }
        }
    }

    const fn bounds(&self) -> Bounds {
        Bounds {
            message_bytes: limits::WEBSOCKET_MESSAGE_BYTES,
            parts: self.config.max_parts,
        }
    }
}

/// What a client is to be told, about which request.
#[derive(Debug)]
struct Reply {
    request_id: String,
    form: Subprotocol,
    messages: Vec<String>,
}

impl Reply {
    const fn new(request_id: String, form: Subprotocol, messages: Vec<String>) -> Self {
        Self {
            request_id,
            form,
            messages,
        }
    }

    fn fault(request_id: String, form: Subprotocol, fault: &Fault) -> Self {
        let told = fault.message(&request_id, form);
        Self::new(request_id, form, vec![told])
    }
}

/// Until when.
#[derive(Clone, Copy, Debug)]
struct Time {
    /// There has to be an answer, or an error for one.
    work: Instant,
    /// It has to be on its way.
    end: Instant,
}

impl Time {
    /// A tenth of the time, but no more than a second, is for telling the client.
    fn before(end: Instant) -> Self {
        let left = end.saturating_duration_since(Instant::now());
        let work = end.checked_sub((left / 10).min(MAX_MARGIN)).unwrap_or(end);
        Self { work, end }
    }
}

/// When Lambda ends this invocation. A time that has passed is an emulator's, `cargo lambda watch` says 600000 ms after
/// 1970: such an invocation has no end that is known.
fn end_of(lambda: &lambda_runtime::Context) -> Option<Instant> {
    let deadline = Duration::from_millis(lambda.deadline);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let left = deadline.checked_sub(now)?.min(MAX_TIMEOUT);
    Some(Instant::now() + left)
}

fn far() -> Instant {
    Instant::now() + MAX_TIMEOUT
}

/// Nothing more to say.
fn done() -> Value {
    json!({"statusCode": 200})
}

/// A call of `@connections` and a way back of the function's answer.
const MAX_MARGIN: Duration = Duration::from_secs(1);

/// No function runs longer (AWS Lambda quotas).
const MAX_TIMEOUT: Duration = Duration::from_secs(900);

/// Between two questions whether a client is still there, each a call that costs.
const GONE_INTERVAL: Duration = Duration::from_secs(30);
