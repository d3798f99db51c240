//! Answers the events of an API Gateway WebSocket API. A response goes back to the client as the function's own response
//! where the API has route responses, and by `@connections` otherwise.

mod connect;

mod connections;

mod encode;

mod error;

mod event;

mod message;

mod push;

mod reply;

mod tasks;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use flowgate_config::{FunctionConfig, GatewayConfig, Protocol};
use flowgate_proto::{DataRequest, limits, with_causes};
use serde_json::{Value, json};

use self::{
    connect::{Choice, ConnectGuard},
    connections::{AwsConfig, Connections, ConnectionsError, Endpoints},
    error::MessageError,
    event::{Connection, Event, EventType},
    message::{Content, Message},
    push::{AsyncRequest, Deduplicator},
    reply::{MessageLimits, Reply},
    tasks::ConnectionTasks,
};
use super::deadline::Deadline;
use crate::{
    context::Context,
    error::ErrorCode,
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
    lambda_client: Arc<LambdaClient>,
    settings: FunctionConfig,
    connections: Connections,
    connect_guard: ConnectGuard,
    tasks: ConnectionTasks,
    deduplicator: Deduplicator,
}

impl WebSocketEvents {
    /// Makes no AWS client yet: a function that answers only by route responses needs none.
    pub(super) fn new(
        services: &Services,
        clients: &Clients,
        config: &GatewayConfig,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let variable = |name: &str| env(name).filter(|value| !value.is_empty());
        let settings = config.function.clone();
        let url = settings.websocket.connections_url.clone();
        let endpoints = Endpoints {
            url: url
                .or_else(|| variable("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"))
                .or_else(|| variable("AWS_ENDPOINT_URL")),
            region: variable("AWS_REGION"),
        };
        Self {
            services: services.clone(),
            lambda_client: Arc::clone(&clients.lambda),
            connections: Connections::new(endpoints, AwsConfig::Environment),
            settings,
            connect_guard: ConnectGuard::new(config),
            tasks: ConnectionTasks::default(),
            deduplicator: Deduplicator::default(),
        }
    }

    /// Answers an event of API Gateway with the response of a Lambda proxy integration.
    pub(super) async fn handle(
        &self,
        event: Value,
        lambda: &lambda_http::Context,
        deadline: Deadline,
        context: &Context,
    ) -> Value {
        let event: Event = match serde_json::from_value(event) {
            Ok(event) => event,
            Err(error) => {
                // Not the error's text, which quotes values such as a credential.
                let category = error.classify();
                tracing::warn!(?category, "invalid event of a WebSocket API");
                return json!({"statusCode": 400});
            }
        };
        match event.event_type() {
            EventType::Connect => self.connect(&event).await,
            EventType::Disconnect => {
                self.tasks.cancel(&event.request_context.connection_id);
                empty_response()
            }
            EventType::Message => {
                self.connect_guard.note_message();
                Box::pin(self.message(&event, lambda, deadline, context)).await
            }
        }
    }

    /// Answers a request with which the function has invoked itself. The invocation succeeds in any case, because Lambda
    /// would repeat all of the work after a failure; errors go to the client and the log.
    pub(super) async fn handle_push(&self, event: Value, deadline: Deadline, context: &Context) {
        match AsyncRequest::from_event(event) {
            Ok(request) if self.deduplicator.is_new(&request.id) => {
                Box::pin(self.push(request, deadline, context)).await;
            }
            Ok(AsyncRequest { id, .. }) => {
                tracing::info!(id, "asynchronous event delivered again, ignored");
            }
            Err(error) => tracing::error!(
                error = %with_causes(&error),
                "asynchronous event rejected"
            ),
        }
    }

    /// Authenticates the client, which is only possible at `$connect`: no other event has headers.
    async fn connect(&self, event: &Event) -> Value {
        self.connect_guard.note_connect();
        let headers = event.headers();
        let checked = self
            .services
            .auth
            .authenticate(&headers, &[Protocol::WebSocket], "/");
        if let Err(error) = checked.await {
            return json!({"statusCode": error.http_status().as_u16()});
        }
        match connect::choose_subprotocol(connect::offered_subprotocols(&headers)) {
            Choice::NoSubprotocol => empty_response(),
            Choice::Subprotocol(name) => {
                json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": name}})
            }
            Choice::Refuse => json!({"statusCode": 400}),
        }
    }

    async fn message(
        &self,
        event: &Event,
        lambda: &lambda_http::Context,
        deadline: Deadline,
        context: &Context,
    ) -> Value {
        let connection = &event.connection();
        let message = Message::from_event(event);
        let format = message.format;
        let message_id = || event.request_id().to_owned();
        let content = match message.read() {
            Ok(content) => content,
            Err(close) => {
                let reply = Reply::error(message_id(), format, &MessageError::from(&close));
                return self.deliver(connection, reply, deadline).await;
            }
        };
        let request = match content {
            Content::Ping(pong) => {
                let reply = Reply::message(message_id(), format, pong.to_owned());
                return self.deliver(connection, reply, deadline).await;
            }
            Content::Input(Input::Ignored) => return empty_response(),
            Content::Input(Input::End) => return self.close(connection, deadline).await,
            Content::Input(Input::Request(request)) => *request,
        };
        if self.settings.websocket.push {
            let id = request.header.request_id;
            let request = AsyncRequest::new(connection.clone(), id, message.into_text());
            let function = push::own_name(lambda);
            return self
                .enqueue(request, function, format, deadline, context)
                .await;
        }
        let task = self.tasks.start(&connection.id);
        tokio::select! {
            reply = self.process(request, format, deadline, context) => {
                self.deliver(connection, reply, deadline).await
            }
            () = task.cancelled() => empty_response(),
        }
    }

    /// Sends a request through the Flow and returns the messages for the client.
    async fn process(
        &self,
        request: DataRequest,
        format: Subprotocol,
        deadline: Deadline,
        context: &Context,
    ) -> Reply {
        let id = request.header.request_id.clone();
        let response = self.services.gateway.handle(request, context.clone());
        match tokio::time::timeout_at(deadline.flow, response).await {
            Ok(Ok(response)) => Reply::response(id, format, response, self.message_limits()),
            Ok(Err(error)) => Reply::error(id, format, &MessageError::from(&error)),
            Err(_) => Reply::error(id, format, &MessageError::deadline_exceeded()),
        }
    }

    /// Sends a reply. Where the API has route responses, a single message is the function's own response, and so is the
    /// error when others could not be sent.
    async fn deliver(
        &self,
        connection: &Connection,
        mut reply: Reply,
        deadline: Deadline,
    ) -> Value {
        if !self.settings.websocket.route_response {
            // An error is logged; there is no other way to the client.
            let _ = self.send(connection, reply.messages, deadline).await;
            return empty_response();
        }
        if reply.messages.len() == 1
            && let Some(message) = reply.messages.pop()
        {
            return json!({"statusCode": 200, "body": message});
        }
        match self.send(connection, reply.messages, deadline).await {
            Ok(()) | Err(ConnectionsError::Gone) => empty_response(),
            Err(error) => {
                let detail = format!("the response could not be sent: {error}");
                let error = MessageError::of_aws_call(error.code(), detail);
                json!({"statusCode": 200, "body": error.encode(&reply.request_id, reply.format)})
            }
        }
    }

    /// Sends messages by `@connections`, in their order. When one cannot be sent, the following are dropped, because
    /// parts with a gap are useless.
    async fn send(
        &self,
        connection: &Connection,
        messages: Vec<String>,
        deadline: Deadline,
    ) -> Result<(), ConnectionsError> {
        let total = messages.len();
        for (sent, message) in messages.into_iter().enumerate() {
            let posted = self
                .connections
                .post(connection, message, deadline.connections);
            let Err(error) = posted.await else { continue };
            if error == ConnectionsError::Gone {
                self.tasks.cancel(&connection.id);
            } else {
                let api = &connection.api_id;
                tracing::error!(%error, api, sent, total, "response could not be sent");
            }
            return Err(error);
        }
        Ok(())
    }

    /// Closes the connection of a client that has ended its input, after this process's work for it, as the container
    /// does.
    async fn close(&self, connection: &Connection, deadline: Deadline) -> Value {
        let idle = self.tasks.wait_until_idle(&connection.id);
        if tokio::time::timeout_at(deadline.flow, idle).await.is_err() {
            tracing::warn!("connection closed while requests are under way");
        }
        let deleted = self.connections.delete(connection, deadline.connections);
        if let Err(error) = deleted.await {
            tracing::error!(%error, api = connection.api_id, "connection could not be closed");
        }
        empty_response()
    }

    /// Invokes the function asynchronously with the request; an error goes to the client.
    async fn enqueue(
        &self,
        request: AsyncRequest,
        function: &str,
        format: Subprotocol,
        deadline: Deadline,
        context: &Context,
    ) -> Value {
        let client = &self.lambda_client;
        let Err(error) = request.send(client, function, context).await else {
            return empty_response();
        };
        tracing::error!(%error, "asynchronous invocation failed");
        let reply = Reply::error(request.request_id, format, &error.to_message_error());
        self.deliver(&request.connection, reply, deadline).await
    }

    async fn push(&self, request: AsyncRequest, deadline: Deadline, context: &Context) {
        let AsyncRequest {
            connection,
            request_id,
            message,
            ..
        } = request;
        let message = Message::from_text(message);
        // The invocation that enqueued it has read it already.
        let Ok(Content::Input(Input::Request(mut request))) = message.read() else {
            tracing::error!("asynchronous event contains no request");
            return;
        };
        request.header.request_id = request_id;
        let task = self.tasks.start(&connection.id);
        tokio::select! {
            reply = self.process(*request, message.format, deadline, context) => {
                // An error is logged; there is no other way to the client.
                let _ = self.send(&connection, reply.messages, deadline).await;
            }
            () = task.cancelled() => {}
            () = self.disconnected(&connection, deadline) => {
                tracing::debug!("client has disconnected, request cancelled");
            }
        }
    }

    /// Completes when `@connections` reports that the client has disconnected. An event may have waited for hours, and
    /// its request may take minutes.
    async fn disconnected(&self, connection: &Connection, deadline: Deadline) {
        loop {
            match self.connections.get(connection, deadline.connections).await {
                Err(ConnectionsError::Gone) => return,
                // A policy forbids GET, or an emulator does not know it: asking again does not help.
                Err(error) if error.code() == ErrorCode::Misconfigured => {
                    std::future::pending().await
                }
                Ok(()) | Err(_) => tokio::time::sleep(CONNECTION_CHECK_INTERVAL).await,
            }
        }
    }

    const fn message_limits(&self) -> MessageLimits {
        MessageLimits {
            message_bytes: limits::MAX_WEBSOCKET_MESSAGE_BYTES,
            parts: self.settings.websocket.max_parts,
        }
    }
}

/// A response without a message for the client.
fn empty_response() -> Value {
    json!({"statusCode": 200})
}

/// How often a push checks that its client is connected. Each check is a call that costs money.
const CONNECTION_CHECK_INTERVAL: Duration = Duration::from_secs(30);
