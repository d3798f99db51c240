//! An HTTP API with one route, `$default`, in front of the function: requests out as events of payload format 2.0, the
//! function's answers back, with the limits and the texts of API Gateway's own (API Gateway, quotas for HTTP APIs).

mod answer;

mod event;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use flowgate_proto::limits::{MAX_HTTP_API_HEADER_BYTES, MAX_HTTP_API_PAYLOAD_BYTES};
use http::{HeaderValue, Request, StatusCode, request::Parts};
use hyper::body::Incoming;

pub(super) use self::{
    answer::status,
    event::{Plus, decoded, query_lists, query_parameters, text},
};
use super::{
    Options,
    answer::{Answer, message},
    function::{Front, InvokeError, Outcome},
    moment, server,
};
use event::Arrival;

/// An HTTP API.
#[derive(Clone, Debug)]
pub(super) struct HttpApi {
    front: Front,
    api: Arc<Api>,
}

/// What is the same for every request.
#[derive(Debug)]
struct Api {
    stage: String,
    prefix: String,
    domain: String,
    port: u16,
    timeout: Duration,
}

impl HttpApi {
    pub(super) fn new(front: Front, options: &Options, address: SocketAddr) -> Self {
        let api = Api {
            stage: options.stage.clone(),
            prefix: options.prefix(),
            domain: address.to_string(),
            port: address.port(),
            timeout: options.times.http,
        };
        Self {
            front,
            api: Arc::new(api),
        }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let id = moment::id();
        let mut answer = match self.ask(&id, request, peer).await {
            Ok(answer) => answer,
            Err(Refusal(status, text)) => message(status, text),
        };
        if let Ok(id) = HeaderValue::try_from(id) {
            answer.headers_mut().insert("apigw-requestid", id);
        }
        answer
    }

    async fn ask(
        &self,
        id: &str,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Answer, Refusal> {
        let (parts, body) = request.into_parts();
        self.api.check_head(&parts)?;
        let body = server::body(body, MAX_HTTP_API_PAYLOAD_BYTES).await;
        let body = body.map_err(|status| match status {
            StatusCode::PAYLOAD_TOO_LARGE => TOO_LARGE,
            status => Refusal(status, "Bad Request"),
        })?;
        let arrival = Arrival::new(id, &self.api, &parts, &body, peer);
        let event = arrival.event();
        let asked = self.front.invoke(&event, arrival.trace());
        let outcome = match tokio::time::timeout(self.api.timeout, asked).await {
            Ok(outcome) => outcome.map_err(|error| {
                tracing::warn!(path = parts.uri.path(), "{error}");
                Refusal::of(&error)
            })?,
            Err(_) => return Err(UNAVAILABLE),
        };
        match outcome {
            Outcome::Answered(payload) => answer::read(&payload).map_err(|fault| {
                tracing::warn!("the function's answer is no answer of format 2.0: {fault}");
                INTERNAL
            }),
            Outcome::Failed(_) => Err(INTERNAL),
        }
    }
}

impl Api {
    fn check_head(&self, parts: &Parts) -> Result<(), Refusal> {
        let target = parts
            .uri
            .path_and_query()
            .map_or(0, |target| target.as_str().len());
        let line = parts.method.as_str().len() + target + " HTTP/1.1\r\n ".len();
        let headers = parts.headers.iter();
        let headers =
            headers.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
        if line + headers.sum::<usize>() > MAX_HTTP_API_HEADER_BYTES {
            return Err(HEADERS_TOO_LARGE);
        }
        match parts.uri.path().strip_prefix(&self.prefix) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Ok(()),
            _ => Err(NOT_FOUND),
        }
    }
}

/// API Gateway's own refusal: a status and what its `message` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal(StatusCode, &'static str);

/// No stage of this path.
const NOT_FOUND: Refusal = Refusal(StatusCode::NOT_FOUND, "Not Found");
/// More than 10 MB, or more than 6 MB of event once it is JSON.
const TOO_LARGE: Refusal = Refusal(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
const HEADERS_TOO_LARGE: Refusal = Refusal(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "Request Header Fields Too Large",
);
/// The function failed, or what it answered is no answer.
const INTERNAL: Refusal = Refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
/// The function took longer than 30 s, or was throttled: an HTTP API says 503 to both, where a REST API says 504.
const UNAVAILABLE: Refusal = Refusal(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");

impl Refusal {
    const fn of(error: &InvokeError) -> Self {
        match error {
            InvokeError::TooLarge { .. } => TOO_LARGE,
            InvokeError::Throttled | InvokeError::Stopping => UNAVAILABLE,
            InvokeError::NotFound
            | InvokeError::Refused { .. }
            | InvokeError::Unreachable { .. } => INTERNAL,
        }
    }
}
