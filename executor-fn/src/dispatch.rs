//! Answers requests by Jina 3.13's rules for an Executor: chooses the handler, decodes the documents, and
//! writes the reply or the error into the request. It does not know the transport: gRPC, Lambda and a Gateway
//! in the same process all call it.

use std::{env, fmt, sync::Arc};

use flowgate_proto::{
    DataRequest, Documents, DocumentsError, Kind, Parameters, RESULTS_KEY, Struct, Value,
    docarray::DocumentProto,
    jina::{JinaInfoProto, RouteProto},
    normalize_shared,
};

use crate::{
    Error, Executor, Identity, Reply, Request,
    batch::Batcher,
    endpoint::{Endpoint, Target},
    handler::{Handler, call_catching_panics},
    info::{Traffic, jina_info},
    request::DecodedRequests,
};

/// A running Executor: it answers requests under its deployment's name. Clones share it.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    executor: Executor,
    identity: Identity,
    traffic: Traffic,
}

/// An Executor's answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The request (of a join the first one) with the Executor's documents, routes and status.
    pub request: DataRequest,
    /// Whether the Executor failed. Over gRPC this is the trailer `is-error`.
    pub is_error: bool,
}

/// A request whose handler panicked.
pub(crate) struct HandlerPanic {
    /// The first request, unchanged.
    pub(crate) request: DataRequest,
    /// The panic's message.
    pub(crate) error: Error,
}

impl Executor {
    /// Returns the service that answers requests in this process, under the names of `identity`.
    #[must_use]
    pub fn into_service(self, identity: Identity) -> Service {
        Service(Arc::new(Inner {
            executor: self,
            identity,
            traffic: Traffic::default(),
        }))
    }

    /// As [`into_service`](Self::into_service), for an Executor that has the process to itself: `_status` shows the
    /// process's environment, and the default identity is the first replica of the Executor's name.
    pub(crate) fn into_process_service(mut self, identity: Option<Identity>) -> Service {
        self.environment
            .get_or_insert_with(|| Arc::new(|key| env::var(key).ok()));
        let identity = identity.unwrap_or_else(|| Identity::first_replica(self.name()));
        self.into_service(identity)
    }
}

impl Service {
    /// The names of the endpoints, `_jina_dry_run_` last.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.0.executor.endpoints.names()
    }

    /// The name of the deployment.
    #[must_use]
    pub fn deployment(&self) -> &str {
        &self.0.identity.deployment
    }

    /// Answers one request, or all requests of a `no_reduce` join. An error or panic of the handler is an
    /// answer with `is_error`.
    pub async fn process(&self, requests: Vec<DataRequest>) -> Answer {
        self.try_process(requests).await.unwrap_or_else(|panic| {
            let HandlerPanic { request, error } = *panic;
            self.error_answer(request, &error)
        })
    }

    /// As [`process`](Self::process), but returns a panic as an error.
    pub(crate) async fn try_process(
        &self,
        requests: Vec<DataRequest>,
    ) -> Result<Answer, Box<HandlerPanic>> {
        let Some(request) = requests.first().cloned() else {
            let error = Error::new("IndexError", "list index out of range");
            return Ok(self.error_answer(DataRequest::default(), &error));
        };
        match self.0.dispatch(requests).await {
            Ok(request) => Ok(Answer {
                request,
                is_error: false,
            }),
            Err(DispatchError::Handler(error)) if error.is_panic() => {
                Err(Box::new(HandlerPanic { request, error }))
            }
            Err(DispatchError::Handler(error)) => Ok(self.error_answer(request, &error)),
            Err(DispatchError::Undecodable(readable)) => {
                Ok(self.error_answer(*readable, &decode_error()))
            }
        }
    }

    /// The answer to a message that is not a valid `DataRequestProto`.
    pub(crate) fn undecodable(&self) -> Answer {
        self.error_answer(DataRequest::default(), &decode_error())
    }

    /// Writes the error into the status of the otherwise unchanged request.
    fn error_answer(&self, mut request: DataRequest, error: &Error) -> Answer {
        let Inner {
            executor, identity, ..
        } = &*self.0;
        tracing::error!(
            executor = identity.deployment,
            request_id = request.header.request_id,
            exec_endpoint = request.exec_endpoint(),
            error = error.with_causes(),
            "request failed"
        );
        error.write_status(&mut request.header, &executor.name);
        Answer {
            request,
            is_error: true,
        }
    }

    /// The answer to Jina's `_status`: versions and environment variables.
    #[must_use]
    pub fn info(&self) -> JinaInfoProto {
        let environment = self.0.executor.environment.as_deref();
        jina_info(|key| {
            let own = self.traffic().variable(key);
            own.or_else(|| environment?(key))
        })
    }

    /// The totals of bytes received and sent, which the transport counts.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// Runs the batches that are waiting, and from now on runs each batch without waiting for more requests. A
    /// host calls it when it stops.
    pub fn flush_batches(&self) {
        self.0.executor.flush.cancel();
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("executor", &self.0.executor)
            .field("identity", &self.0.identity)
            .finish_non_exhaustive()
    }
}

/// Why a request has no reply of a handler.
enum DispatchError {
    /// An error of the handler, or of the parameters.
    Handler(Error),
    /// The first request without the fields that cannot be decoded: the client could not decode them in an
    /// answer either.
    Undecodable(Box<DataRequest>),
}

/// What becomes of a request.
struct Output {
    documents: Arc<Vec<DocumentProto>>,
    results: Option<Struct>,
}

impl From<Arc<Vec<DocumentProto>>> for Output {
    fn from(documents: Arc<Vec<DocumentProto>>) -> Self {
        let results = None;
        Self { documents, results }
    }
}

impl From<Error> for DispatchError {
    fn from(error: Error) -> Self {
        Self::Handler(error)
    }
}

impl Inner {
    async fn dispatch(&self, requests: Vec<DataRequest>) -> Result<DataRequest, DispatchError> {
        let Some(first) = requests.first() else {
            return Ok(DataRequest::default());
        };
        let exec_endpoint = first.exec_endpoint().unwrap_or_default();
        let endpoint = match self.executor.endpoints.find(exec_endpoint) {
            Target::Skip => return Ok(first.clone()),
            Target::DryRun => None,
            Target::Bound(endpoint) => Some(endpoint),
        };
        let parameters = self.parameters(first)?;
        let output = match endpoint {
            None => Output::from(decode(&requests)?.documents),
            Some(Endpoint::Plain(handler)) => call_plain(handler, &requests, parameters).await?,
            Some(Endpoint::Batched(batcher)) => {
                call_batched(batcher, &requests, parameters).await?
            }
        };
        let first = requests.into_iter().next().unwrap_or_default();
        self.apply(output, first)
    }

    /// The request's parameters, with the object under the Executor's name merged over them.
    fn parameters(&self, request: &DataRequest) -> Result<Struct, DispatchError> {
        let decoded = request.parameters.decode();
        let mut parameters = decoded.map_err(|_| undecodable(request))?;
        let name = &self.executor.metas_name;
        match parameters
            .fields
            .get(name)
            .and_then(|value| value.kind.as_ref())
        {
            Some(Kind::StructValue(own)) => {
                let own = own.fields.clone();
                parameters.fields.extend(own);
            }
            Some(kind) if !is_falsy(kind) => {
                let text = format!(
                    "the parameter {name:?} must be an object: it holds the parameters for the Executor of that name"
                );
                return Err(Error::new("TypeError", text).into());
            }
            Some(_) | None => {}
        }
        Ok(parameters)
    }

    /// Puts the output into the first request and this Executor at the end of its routes; without start and
    /// end times, as a Jina Executor does (recording `grpc/22-executor_direct_echo`).
    fn apply(
        &self,
        output: Output,
        mut request: DataRequest,
    ) -> Result<DataRequest, DispatchError> {
        let Output {
            mut documents,
            results,
        } = output;
        if let Some(results) = results {
            request.parameters = self.merge_results(&request.parameters, results)?;
        }
        normalize_shared(&mut documents);
        request.documents = Documents::from(documents);
        request.routes.push(RouteProto {
            executor: self.identity.deployment.clone(),
            ..RouteProto::default()
        });
        Ok(request)
    }

    fn merge_results(&self, parameters: &Parameters, results: Struct) -> Result<Parameters, Error> {
        let mut parameters = parameters.decode()?;
        let all = parameters.fields.entry(RESULTS_KEY.to_owned()).or_default();
        let all = all
            .kind
            .get_or_insert_with(|| Kind::StructValue(Struct::default()));
        let Kind::StructValue(all) = all else {
            let text = format!("the parameter {RESULTS_KEY:?} must be an object");
            return Err(Error::new("TypeError", text));
        };
        let own = Value {
            kind: Some(Kind::StructValue(results)),
        };
        all.fields.insert(self.identity.runtime.clone(), own);
        Ok(parameters.into())
    }
}

async fn call_plain(
    handler: &Handler<Request, Reply>,
    requests: &[DataRequest],
    parameters: Struct,
) -> Result<Output, DispatchError> {
    let decoded = decode(requests)?;
    // An unchanged reply decodes the requests again, which costs less than a copy for every handler that changes its documents.
    // Only documents with generated ids must be kept.
    let kept = (!decoded.is_repeatable).then(|| Arc::clone(&decoded.documents));
    let header = requests.first().map(|first| first.header.clone());
    let request = Request::new(header.unwrap_or_default(), parameters, decoded);
    let Reply { documents, results } = call_catching_panics(handler, request).await?;
    let documents = match (documents, kept) {
        (Some(documents), _) => Arc::new(documents),
        (None, Some(kept)) => kept,
        (None, None) => decode(requests)?.documents,
    };
    Ok(Output { documents, results })
}

async fn call_batched(
    batcher: &Batcher,
    requests: &[DataRequest],
    parameters: Struct,
) -> Result<Output, DispatchError> {
    if requests.len() > 1 {
        let text = "dynamic batching does not support no_reduce";
        return Err(Error::new("AssertionError", text).into());
    }
    let documents = Arc::unwrap_or_clone(decode(requests)?.documents);
    let documents = batcher.process(documents, parameters).await?;
    Ok(Output::from(Arc::new(documents)))
}

fn decode(requests: &[DataRequest]) -> Result<DecodedRequests, DispatchError> {
    DecodedRequests::decode(requests).map_err(|error| match error {
        DocumentsError::Malformed(_) => requests
            .first()
            .map_or_else(|| decode_error().into(), undecodable),
        DocumentsError::Pickled => Error::new("UnpicklingError", error.to_string()).into(),
        DocumentsError::TooLarge(_) => Error::new("MemoryError", error.to_string()).into(),
    })
}

/// Keeps what can be decoded of the first request. In a join another request may be the malformed one.
fn undecodable(first: &DataRequest) -> DispatchError {
    let mut readable = first.clone();
    if readable.parameters.decode().is_err() {
        readable.parameters = Parameters::default();
    }
    if let Err(DocumentsError::Malformed(_)) = readable.documents.decode() {
        readable.documents = Documents::default();
    }
    DispatchError::Undecodable(Box::new(readable))
}

/// A Jina 3.13 Executor's error for a request, or documents in it, that cannot be decoded.
fn decode_error() -> Error {
    Error::new(
        "DecodeError",
        "Error parsing message with type 'jina.DataRequestProto'",
    )
}

/// Whether the value is false in Python. Jina ignores such parameters under an Executor's name.
fn is_falsy(kind: &Kind) -> bool {
    match kind {
        Kind::NullValue(_) => true,
        Kind::NumberValue(number) => *number == 0.0,
        Kind::StringValue(text) => text.is_empty(),
        Kind::BoolValue(flag) => !flag,
        Kind::ListValue(list) => list.values.is_empty(),
        Kind::StructValue(fields) => fields.fields.is_empty(),
    }
}

#[cfg(test)]
mod tests;
