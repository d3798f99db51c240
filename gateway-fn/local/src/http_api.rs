//! An HTTP API with the single route `$default`: invokes the function with an event of payload format 2.0 for each
//! request, and applies API Gateway's limits and error texts (API Gateway, quotas for HTTP APIs).

mod event;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use flowgate_proto::{
    limits::{MAX_HTTP_API_HEADER_BYTES, MAX_HTTP_API_PAYLOAD_BYTES},
    with_causes,
};
use flowgate_server::http1::RequestBody;
use http::{HeaderValue, Request, StatusCode, request::Parts};

use self::event::ReceivedRequest;
use crate::{
    aws::new_id,
    function::{Integration, InvokeError, InvokeResult},
    options::Options,
    proxy_response,
    response::{self, ApiGatewayError, Response},
    server,
    stage::Stage,
};

/// An HTTP API.
#[derive(Clone, Debug)]
pub(crate) struct HttpApi {
    integration: Integration,
    stage: Arc<Stage>,
    timeout: Duration,
}

impl HttpApi {
    pub(crate) fn new(integration: Integration, options: &Options, address: SocketAddr) -> Self {
        Self {
            integration,
            stage: Arc::new(Stage::new(&options.stage, address)),
            timeout: options.timeouts.http,
        }
    }

    pub(crate) async fn handle(
        &self,
        request: Request<RequestBody>,
        client: SocketAddr,
    ) -> Response {
        let request_id = new_id();
        let mut response = match self.invoke(&request_id, request, client).await {
            Ok(response) => response,
            Err(ApiGatewayError(status, text)) => response::message(status, text),
        };
        if let Ok(request_id) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert("apigw-requestid", request_id);
        }
        response
    }

    async fn invoke(
        &self,
        request_id: &str,
        request: Request<RequestBody>,
        client: SocketAddr,
    ) -> Result<Response, ApiGatewayError> {
        let (parts, body) = request.into_parts();
        check_header_size(&parts)?;
        if self.stage.strip_prefix(parts.uri.path()).is_none() {
            return Err(NOT_FOUND);
        }
        let body = server::read_body(body, MAX_HTTP_API_PAYLOAD_BYTES).await;
        let body = body.map_err(|status| match status {
            StatusCode::PAYLOAD_TOO_LARGE => TOO_LARGE,
            status => ApiGatewayError(status, "Bad Request"),
        })?;
        let received = ReceivedRequest::new(request_id, &self.stage, &parts, &body, client);
        let event = received.to_event();
        let invocation = self.integration.invoke(&event, received.trace());
        match tokio::time::timeout(self.timeout, invocation).await {
            Ok(Ok(InvokeResult::Response(payload))) => {
                proxy_response::parse(&payload).map_err(|error| {
                    tracing::warn!(request_id, %error, "invalid response of the function");
                    INTERNAL
                })
            }
            Ok(Ok(InvokeResult::FunctionError(_))) => Err(INTERNAL),
            Ok(Err(error)) => {
                tracing::warn!(request_id, error = %with_causes(&error), "invocation failed");
                Err(error_response(&error))
            }
            Err(_) => Err(UNAVAILABLE),
        }
    }
}

fn check_header_size(parts: &Parts) -> Result<(), ApiGatewayError> {
    let target = parts.uri.path_and_query();
    let target = target.map_or(0, |target| target.as_str().len());
    let line = parts.method.as_str().len() + target + " HTTP/1.1\r\n ".len();
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    match line + headers.sum::<usize>() > MAX_HTTP_API_HEADER_BYTES {
        true => Err(HEADERS_TOO_LARGE),
        false => Ok(()),
    }
}

/// The path is in no stage.
const NOT_FOUND: ApiGatewayError = ApiGatewayError(StatusCode::NOT_FOUND, "Not Found");
/// The body is larger than 10 MB, or the event is larger than 6 MB.
const TOO_LARGE: ApiGatewayError =
    ApiGatewayError(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
const HEADERS_TOO_LARGE: ApiGatewayError = ApiGatewayError(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "Request Header Fields Too Large",
);
/// The function failed, or its response is invalid.
const INTERNAL: ApiGatewayError =
    ApiGatewayError(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
/// The integration timed out or was throttled. An HTTP API responds with 503 to both; a REST API with 504 to a timeout.
const UNAVAILABLE: ApiGatewayError =
    ApiGatewayError(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");

const fn error_response(error: &InvokeError) -> ApiGatewayError {
    match error {
        InvokeError::TooLarge { .. } => TOO_LARGE,
        InvokeError::Throttled | InvokeError::Stopping => UNAVAILABLE,
        InvokeError::NotFound
        | InvokeError::EndpointStatus { .. }
        | InvokeError::Unreachable(_) => INTERNAL,
    }
}
