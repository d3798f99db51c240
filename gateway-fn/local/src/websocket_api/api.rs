//! What all connections of a WebSocket API share: its routes, and how the function is invoked.

use flowgate_proto::with_causes;
use http::StatusCode;
use serde_json::Value;
use time::UtcDateTime;

use super::connections::Connections;
use crate::{
    aws,
    function::{Integration, InvokeResult},
    options::{RouteResponses, RouteSelection, Timeouts},
    proxy_response::parse_status,
    response::ApiGatewayError,
    shutdown::Shutdown,
    stage::Stage,
};

/// The state of a WebSocket API.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) integration: Integration,
    pub(super) connections: Connections,
    pub(super) stage: Stage,
    pub(super) routes: Vec<String>,
    pub(super) route_selection: RouteSelection,
    pub(super) route_responses: RouteResponses,
    pub(super) timeouts: Timeouts,
    pub(super) shutdown: Shutdown,
}

const TIMED_OUT: ApiGatewayError =
    ApiGatewayError(StatusCode::GATEWAY_TIMEOUT, "Endpoint request timed out");
pub(super) const FAILED: ApiGatewayError =
    ApiGatewayError(StatusCode::BAD_GATEWAY, "Internal server error");

impl Api {
    /// Invokes the function. Returns its response and the status in it.
    pub(super) async fn invoke(
        &self,
        event: &Value,
    ) -> Result<(StatusCode, Value), ApiGatewayError> {
        let trace = aws::new_trace(UtcDateTime::now());
        let invocation = self.integration.invoke(event, &trace);
        let result = tokio::time::timeout(self.timeouts.websocket, invocation).await;
        let payload = match result.map_err(|_| TIMED_OUT)? {
            Ok(InvokeResult::Response(payload)) => payload,
            Ok(InvokeResult::FunctionError(_)) => return Err(FAILED),
            Err(error) => {
                tracing::warn!(error = %with_causes(&error), "invocation failed");
                return Err(FAILED);
            }
        };
        let response: Value = serde_json::from_slice(&payload).unwrap_or_default();
        match parse_status(&response) {
            Ok(status) => Ok((status, response)),
            Err(error) => {
                tracing::warn!(%error, "invalid response of the function");
                Err(FAILED)
            }
        }
    }

    /// Returns the route that the message's JSON names, or `$default` if it names no known route.
    pub(super) fn route(&self, message: &str) -> &str {
        let json: Option<Value> = serde_json::from_str(message).ok();
        let selected = json.as_ref().and_then(|json| {
            let mut names = self.route_selection.path.iter();
            names.try_fold(json, |value, name| value.get(name))
        });
        let selected = selected.and_then(Value::as_str);
        let mut routes = self.routes.iter().map(String::as_str);
        routes
            .find(|&route| Some(route) == selected)
            .unwrap_or("$default")
    }
}

/// Returns the message that a client receives for an error.
pub(super) fn error_text(text: &str, connection_id: &str, request_id: &str) -> String {
    format!(
        "{{\"message\": \"{text}\", \"connectionId\":\"{connection_id}\", \"requestId\":\"{request_id}\"}}"
    )
}
