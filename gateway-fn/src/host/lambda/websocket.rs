//! Events of an API Gateway WebSocket API -> the Gateway, and its answers back to the client: as the function's own
//! answer, or by `@connections`.

mod answer;

mod call;

mod connect;

mod connections;

mod door;

mod event;

mod fault;

mod message;

mod push;

mod reply;

mod time;

mod work;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use flowgate_config::{FunctionConfig, GatewayConfig, Protocol};
use flowgate_proto::{DataRequest, limits, with_causes};
use serde_json::{Value, json};

use self::{
    answer::Bounds,
    call::{ConnectionsError, Sdk},
    connect::Choice,
    connections::{Connections, Endpoints},
    door::Door,
    event::{Connection, Event, Route},
    fault::Fault,
    message::{Meaning, Message},
    push::AsyncRequest,
    reply::Reply,
    time::Time,
    work::{TakenOn, Work},
};
use crate::{
    context::Context,
    inbound::{
        Services,
        websocket::subprotocol::{Input, Subprotocol},
    },
    outbound::{Clients, lambda::LambdaClient},
};

/// The WebSocket side of the function.
#[derive(Debug)]
pub(super) struct WebSocketEvents {
    services: Services,
    lambda: Arc<LambdaClient>,
    settings: FunctionConfig,
    sdk: Sdk,
    connections: Connections,
    door: Door,
    work: Work,
    taken_on: TakenOn,
}

impl WebSocketEvents {
    /// Builds no AWS client yet: one whose answers are all route responses needs none.
    pub(super) fn new(
        services: &Services,
        clients: &Clients,
        config: &GatewayConfig,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let settings = config.function.clone();
        let url = settings.websocket.connections_url.clone();
        Self {
            services: services.clone(),
            lambda: Arc::clone(&clients.lambda),
            sdk: Sdk::OfProcess,
            connections: Connections::at(Endpoints {
                url: url
                    .or_else(|| set("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"))
                    .or_else(|| set("AWS_ENDPOINT_URL")),
                region: set("AWS_REGION"),
            }),
            settings,
            door: Door::of(config),
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
                self.door.passed();
                let time = Time::of(lambda, context.deadline, &self.settings);
                let context = within(time, context);
                Box::pin(self.message(&event, time, &context, lambda)).await
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
        match AsyncRequest::read(event) {
            Ok(request) if self.taken_on.is_new(&request.id) => {
                let time = Time::of(lambda, context.deadline, &self.settings);
                Box::pin(self.push(request, time, &within(time, context))).await;
            }
            Ok(AsyncRequest { id, .. }) => tracing::info!(id, "an event came a second time"),
            Err(error) => tracing::error!(
                error = %with_causes(&error),
                "an asynchronous event cannot be taken on"
            ),
        }
        Value::Null
    }

    /// The one event with headers, and so the one at which a caller can be asked who it is.
    async fn connect(&self, event: &Event) -> Value {
        self.door.asked();
        let headers = event.headers();
        let checked = self
            .services
            .auth
            .authenticate(&headers, &[Protocol::WebSocket], "/");
        if let Err(error) = checked.await {
            return json!({"statusCode": error.http_status().as_u16()});
        }
        match connect::choose(connect::offered(&headers)) {
            Choice::Unasked => done(),
            Choice::Answer(subprotocol) => {
                json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": subprotocol}})
            }
            Choice::Refuse => json!({"statusCode": 400}),
        }
    }

    async fn message(
        &self,
        event: &Event,
        time: Time,
        context: &Context,
        lambda: &lambda_runtime::Context,
    ) -> Value {
        let connection = &event.connection();
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
        if self.settings.websocket.push {
            let text = message.into_text();
            let id = request.header.request_id;
            let request = AsyncRequest::new(connection.clone(), id, text);
            let function = push::own_name(lambda);
            return self.enqueue(request, function, form, time, context).await;
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
        let asked = self.services.gateway.handle(request, context.clone());
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
        if !self.settings.websocket.route_response {
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
            Ok(()) | Err(ConnectionsError::Gone) => done(),
            Err(
                error @ (ConnectionsError::Refused { .. }
                | ConnectionsError::NoAnswer
                | ConnectionsError::NotMade
                | ConnectionsError::Nowhere),
            ) => {
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
    ) -> Result<(), ConnectionsError> {
        let all = messages.len();
        for (sent, message) in messages.into_iter().enumerate() {
            let posted = self.connections.post(&self.sdk, to, message, time.end);
            let Err(error) = posted.await else { continue };
            match error {
                ConnectionsError::Gone => self.work.stop(&to.id),
                ConnectionsError::Refused { .. }
                | ConnectionsError::NoAnswer
                | ConnectionsError::NotMade
                | ConnectionsError::Nowhere => {
                    tracing::error!(%error, api = to.api_id, sent, all, "an answer could not be sent");
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
            tracing::error!(%error, api = connection.api_id, "a connection could not be ended");
        }
        done()
    }

    async fn enqueue(
        &self,
        request: AsyncRequest,
        function: &str,
        form: Subprotocol,
        time: Time,
        context: &Context,
    ) -> Value {
        let Err(error) = request.send(&self.lambda, function, context).await else {
            return done();
        };
        tracing::error!(%error, "a request could not be handed over");
        let reply = Reply::fault(request.request_id, form, &error.fault());
        self.deliver(&request.connection, reply, time).await
    }

    async fn push(&self, handed_over: AsyncRequest, time: Time, context: &Context) {
        let AsyncRequest {
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
                Err(ConnectionsError::Gone) => return,
                // A policy or an emulator that knows no GET: asking again does not help.
                Err(
                    ConnectionsError::Refused { status: 403 | 404 }
                    | ConnectionsError::NotMade
                    | ConnectionsError::Nowhere,
                ) => std::future::pending().await,
                Ok(()) | Err(ConnectionsError::Refused { .. } | ConnectionsError::NoAnswer) => {
                    tokio::time::sleep(GONE_INTERVAL).await;
                }
            }
        }
    }

    const fn bounds(&self) -> Bounds {
        Bounds {
            message_bytes: limits::WEBSOCKET_MESSAGE_BYTES,
            parts: self.settings.websocket.max_parts,
        }
    }
}

/// What goes along with a request that may take until then.
fn within(time: Time, context: &Context) -> Context {
    Context {
        deadline: Some(time.work),
        ..context.clone()
    }
}

/// Nothing more to say.
fn done() -> Value {
    json!({"statusCode": 200})
}

/// Between two questions whether a client is still there, each a call that costs.
const GONE_INTERVAL: Duration = Duration::from_secs(30);
