//! The decoded payload of an invocation: which call it makes, and in which form its answer is encoded.

use std::time::Duration;

use flowgate_proto::{
    Compression, DataRequest, DecodeLimits, LimitExceeded,
    invoke::{
        Call, FunctionError, FunctionErrorKind, Invocation, Payload, PayloadError, ResponseInfo,
    },
    json::{self, EndpointFrom, FieldError, Loc, ReadError, SyntaxErrorKind},
    with_causes,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message as _;
use tokio::time::Instant;

use super::{
    foreign::{JsonPayload, WARM_UP_ANSWER, recognize_json},
    handler::InvokeHandler,
    reply::{RawAnswer, encode, encode_json, function_error},
};
use crate::{CallContext, LambdaContext};

/// How many errors of one JSON body the message lists. The first ones say enough about the rest.
const MAX_LISTED_ERRORS: usize = 8;

/// An Executor behind a command lists its endpoints within milliseconds of its start.
const MAX_LIST_TIME: Duration = Duration::from_secs(1);

/// A decoded invocation: by a Gateway, or plain JSON by hand.
///
/// A host with a deadline of its own decodes the payload, sets its deadline, and then answers:
///
/// ```
/// # use executor_fn::{Identity, builtin, invoke::InvokeRequest};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let handler = builtin::greeter().into_service(Identity::first_replica("greeter"));
/// let payload = br#"{"data": [], "execEndpoint": "/"}"#;
/// let request = InvokeRequest::decode(payload, 16 << 20).expect("a valid payload");
/// assert_eq!(request.deadline(), None);
/// let answer = request.answer(&handler).await.expect("no function error");
/// assert!(answer.contains("hello from Flowgate"));
/// # }
/// ```
#[derive(Debug)]
pub struct InvokeRequest {
    call: DecodedCall,
    deadline: Option<u64>,
    context: CallContext,
}

/// A call with its requests. The answer is compressed as the request was.
#[derive(Debug)]
enum DecodedCall {
    Process {
        requests: Vec<DataRequest>,
        encoding: Compression,
        /// Whether the answer lists the endpoints too.
        list_endpoints: bool,
    },
    Endpoints(Compression),
    Status(Compression),
    Json(Box<DataRequest>),
    WarmUp,
}

impl InvokeRequest {
    /// Decodes the payload of an invocation. `max_bytes` limits its requests after decompression. A warmer's event, whose only
    /// purpose is to keep the function warm, is a request too: its answer runs no handler.
    ///
    /// # Errors
    /// A function error of the kind `BadPayload` or `RequestTooLarge` for the caller. An event of another service is a bad
    /// payload: a function that answered it would report success for work that it has not done.
    pub fn decode(payload: &[u8], max_bytes: usize) -> Result<Self, FunctionError> {
        let text = std::str::from_utf8(payload).map_err(|error| {
            let text = format!("the payload is not valid UTF-8: {error}");
            function_error(FunctionErrorKind::BadPayload, text)
        })?;
        match Payload::parse(text).map_err(|error| payload_error(&error))? {
            Payload::Invocation(invocation) => Self::from_invocation(invocation, max_bytes),
            Payload::Json(text) if text.len() > max_bytes => {
                Err(payload_error(&PayloadError::TooLarge { limit: max_bytes }))
            }
            Payload::Json(text) => Self::from_json(text, max_bytes),
        }
    }

    fn from_json(text: &str, max_bytes: usize) -> Result<Self, FunctionError> {
        let call = match recognize_json(text) {
            JsonPayload::Request => DecodedCall::Json(Box::new(decode_json(text, max_bytes)?)),
            JsonPayload::WarmUp => DecodedCall::WarmUp,
            JsonPayload::Foreign(event) => {
                let text = event.to_string();
                return Err(function_error(FunctionErrorKind::BadPayload, text));
            }
        };
        Ok(Self {
            call,
            deadline: None,
            context: CallContext::default(),
        })
    }

    fn from_invocation(
        invocation: Invocation<'_>,
        max_bytes: usize,
    ) -> Result<Self, FunctionError> {
        let encoding = invocation.encoding();
        let call = match invocation.call {
            Call::Process => {
                let requests = invocation.decode_requests(max_bytes);
                let mut requests = requests.map_err(|error| payload_error(&error))?;
                let limits = DecodeLimits::for_messages(max_bytes);
                for request in &mut requests {
                    let checked = request.set_decode_limits(limits);
                    let checked = checked.and_then(|()| request.documents.check_limits());
                    checked.map_err(|exceeded| too_large(&exceeded))?;
                }
                DecodedCall::Process {
                    requests,
                    encoding,
                    list_endpoints: invocation.list_endpoints,
                }
            }
            Call::Endpoints => DecodedCall::Endpoints(encoding),
            Call::Status => DecodedCall::Status(encoding),
        };
        let mut metadata = HeaderMap::new();
        for (name, value) in invocation.metadata.iter().chain(&invocation.trace) {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                // Fails for more than 32,768 of them, which are left out.
                let _ = metadata.try_insert(name, value);
            }
        }
        Ok(Self {
            call,
            deadline: invocation.deadline,
            context: CallContext::default()
                .with_executor(invocation.executor)
                .with_metadata(metadata),
        })
    }

    /// When the caller stops waiting, in milliseconds since 1970; `None` if the payload has no deadline.
    #[must_use]
    pub const fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// What the caller passes on: its name for the Executor, the trace, and metadata.
    #[must_use]
    pub const fn context(&self) -> &CallContext {
        &self.context
    }

    /// Completes the context for the handler: the invocation of this function, and when the handler has to be done.
    #[must_use]
    pub fn with_context(
        mut self,
        lambda: Option<LambdaContext>,
        deadline: Option<Instant>,
    ) -> Self {
        self.context = self.context.with_deadline(deadline);
        if let Some(lambda) = lambda {
            self.context = self.context.with_lambda(lambda);
        }
        self
    }

    /// The name of the call for logs: `process`, `endpoints`, `status`, `json` or `warm_up`.
    #[must_use]
    pub const fn call_name(&self) -> &'static str {
        match self.call {
            DecodedCall::Process { .. } => "process",
            DecodedCall::Endpoints(_) => "endpoints",
            DecodedCall::Status(_) => "status",
            DecodedCall::Json(_) => "json",
            DecodedCall::WarmUp => "warm_up",
        }
    }

    /// Passes the call to `handler` and returns the JSON of the answer.
    ///
    /// # Errors
    /// The handler's function error, or one of the kind `AnswerTooLarge`.
    pub async fn answer(self, handler: &impl InvokeHandler) -> Result<RawAnswer, FunctionError> {
        match self.call {
            DecodedCall::Process {
                requests,
                encoding,
                list_endpoints,
            } => {
                let answer = handler.process(requests, self.context).await?;
                let info = ResponseInfo {
                    is_error: answer.is_error,
                    endpoints: match list_endpoints {
                        true => list(handler).await,
                        false => None,
                    },
                };
                encode(&answer.request.encode_to_vec(), encoding, &info)
            }
            DecodedCall::Endpoints(encoding) => {
                let endpoints = handler.endpoints().await?;
                encode(
                    &endpoints.encode_to_vec(),
                    encoding,
                    &ResponseInfo::default(),
                )
            }
            DecodedCall::Status(encoding) => {
                let status = handler.status().await?;
                encode(&status.encode_to_vec(), encoding, &ResponseInfo::default())
            }
            DecodedCall::Json(request) => {
                let answer = handler
                    .process_json((*request).clone(), self.context)
                    .await?;
                encode_json(&answer, |error| {
                    handler.unrepresentable_as_json(&request, error)
                })
            }
            DecodedCall::WarmUp => RawAnswer::from_text(WARM_UP_ANSWER.to_owned()),
        }
    }
}

/// Returns the handler's endpoints; `None` if it cannot list them soon, because the answer beside them must not wait or
/// be lost: the caller asks again.
async fn list(handler: &impl InvokeHandler) -> Option<Vec<String>> {
    let endpoints = tokio::time::timeout(MAX_LIST_TIME, handler.endpoints()).await;
    Some(endpoints.ok()?.ok()?.endpoints)
}

fn payload_error(error: &PayloadError) -> FunctionError {
    function_error(error.kind(), with_causes(error))
}

fn decode_json(text: &str, max_bytes: usize) -> Result<DataRequest, FunctionError> {
    let bad_payload = |text| function_error(FunctionErrorKind::BadPayload, text);
    let limits = DecodeLimits::for_messages(max_bytes);
    let parsed =
        json::parse_request(text.as_bytes(), limits).map_err(|error| match error.kind {
            SyntaxErrorKind::TooLarge(exceeded) => too_large(&exceeded),
            SyntaxErrorKind::Grammar | SyntaxErrorKind::Unreadable => {
                bad_payload(error.to_string())
            }
        })?;
    json::read_request(parsed, EndpointFrom::Body).map_err(|error| match error {
        ReadError::Invalid(errors) => bad_payload(list_errors(&errors)),
        ReadError::TooLarge(exceeded) => too_large(&exceeded),
    })
}

fn too_large(exceeded: &LimitExceeded) -> FunctionError {
    function_error(FunctionErrorKind::RequestTooLarge, exceeded.to_string())
}

/// Lists errors with their paths: `body.data.0.text: str type expected; ...`
fn list_errors(errors: &[FieldError]) -> String {
    let listed = errors.iter().take(MAX_LISTED_ERRORS).map(|error| {
        let path = error.loc.iter().map(|step| match step {
            Loc::Key(key) => key.clone(),
            Loc::Index(index) => index.to_string(),
        });
        let path: Vec<_> = path.collect();
        format!("{}: {}", path.join("."), error.msg)
    });
    let mut listed: Vec<_> = listed.collect();
    if let Some(more @ 1..) = errors.len().checked_sub(MAX_LISTED_ERRORS) {
        listed.push(format!("and {more} more"));
    }
    listed.join("; ")
}
