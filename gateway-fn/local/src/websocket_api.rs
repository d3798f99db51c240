//! A WebSocket API: invokes the function for `$connect`, for each message by its route, and for `$disconnect` (API
//! Gateway, working with routes for WebSocket APIs), and serves `@connections`.

mod handshake;

mod connections;

mod close;

mod event;

mod api;

mod session;

use std::{net::SocketAddr, sync::Arc};

use flowgate_server::http1::RequestBody;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use serde_json::Value;

use self::{
    api::{Api, error_text},
    connections::{Connection, Connections},
    handshake::Handshake,
    session::Session,
};
use crate::{
    aws::new_id,
    decode::header_text,
    function::Integration,
    options::Options,
    response::{self, ApiGatewayError, Response},
    shutdown::Shutdown,
    stage::Stage,
};

/// A WebSocket API.
#[derive(Clone, Debug)]
pub(crate) struct WebSocketApi {
    api: Arc<Api>,
}

impl WebSocketApi {
    pub(crate) fn new(
        integration: Integration,
        options: &Options,
        address: SocketAddr,
        shutdown: Shutdown,
    ) -> Self {
        let api = Api {
            integration,
            connections: Connections::new(options.max_connections, options.signatures),
            stage: Stage::new(&options.stage, address),
            routes: options.routes.clone(),
            route_selection: options.route_selection.clone(),
            route_responses: options.route_responses,
            timeouts: options.timeouts,
            shutdown,
        };
        Self { api: Arc::new(api) }
    }

    pub(crate) async fn handle(
        &self,
        request: Request<RequestBody>,
        client: SocketAddr,
    ) -> Response {
        let path = self.path_in_stage(request.uri().path());
        let path = path.as_deref();
        if let Some(id) = path.and_then(|path| path.strip_prefix("/@connections/")) {
            return self.api.connections.handle(id, request).await;
        }
        let (connection_id, request_id) = (new_id(), new_id());
        let result = match path {
            Some("" | "/") => {
                self.connect(&connection_id, &request_id, request, client)
                    .await
            }
            _ => Err(ApiGatewayError(StatusCode::FORBIDDEN, "Forbidden")),
        };
        result.unwrap_or_else(|error| rejection(error, &connection_id, &request_id))
    }

    /// Returns the path after the stage, with `@` and `$` decoded. A function that builds the URL of `@connections`
    /// from an event's domain and stage includes the stage `$default`, which is therefore accepted too.
    fn path_in_stage(&self, path: &str) -> Option<String> {
        let path = path.replace("%40", "@").replace("%24", "$");
        let without_default = path.strip_prefix("/$default");
        let path = match without_default.filter(|_| self.api.stage.is_default()) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            Some(_) => return None,
            None => self.api.stage.strip_prefix(&path)?,
        };
        Some(path.to_owned())
    }

    /// Opens a WebSocket if the handshake is valid and the function accepts `$connect`.
    async fn connect(
        &self,
        connection_id: &str,
        request_id: &str,
        mut request: Request<RequestBody>,
        client: SocketAddr,
    ) -> Result<Response, ApiGatewayError> {
        let handshake = Handshake::read(&request)?;
        if self.api.connections.is_full() {
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Err(ApiGatewayError(status, "Too Many Requests"));
        }
        let user_agent = request.headers().get(header::USER_AGENT);
        let user_agent = user_agent.map(|value| header_text(value).into_owned());
        let (connection, commands) = Connection::new(connection_id, client.ip(), user_agent);
        let event = event::connect(&self.api.stage, &connection, request_id, &request);
        let (status, response) = self.api.invoke(&event).await?;
        if !status.is_success() {
            let text = status.canonical_reason().unwrap_or("Error");
            return Err(ApiGatewayError(status, text));
        }
        let host = request.headers().get(header::HOST);
        let host = host.map(|host| header_text(host).into_owned());
        let upgrade = hyper::upgrade::on(&mut request);
        let connection = Arc::new(connection);
        // The function may post to the connection from now on: messages wait until the client has upgraded.
        self.api.connections.insert(&connection);
        let api = Arc::clone(&self.api);
        let session = Session::new(api, connection, commands, host.unwrap_or_default());
        self.api.shutdown.tasks.spawn(session.run(upgrade));
        Ok(handshake.accept(subprotocol(&response)))
    }
}

/// Returns the subprotocol of the function's response to `$connect`. API Gateway selects none by itself (API Gateway,
/// setting up a $connect route that requires a WebSocket subprotocol).
fn subprotocol(response: &Value) -> Option<HeaderValue> {
    let headers = response["headers"].as_object().into_iter().flatten();
    let mut protocols = headers
        .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))
        .filter_map(|(_, value)| HeaderValue::try_from(value.as_str()?).ok());
    protocols.next()
}

/// Returns the response to a rejected handshake, with a body in the format of API Gateway's other WebSocket errors.
fn rejection(error: ApiGatewayError, connection_id: &str, request_id: &str) -> Response {
    let ApiGatewayError(status, text) = error;
    let body = error_text(text, connection_id, request_id);
    let mut response = response::json_text(status, body.into());
    if let Ok(request_id) = HeaderValue::try_from(request_id) {
        let name = HeaderName::from_static("apigw-requestid");
        response.headers_mut().insert(name, request_id);
    }
    response
}
