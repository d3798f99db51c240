//! Answers requests by Jina 3.13's rules for an Executor: chooses the handler, decodes the documents, and
//! writes the reply or the error into the request. It does not know the transport: gRPC, Lambda and a Gateway
//! in the same process all call it.

use std::{borrow::Cow, env, fmt, sync::Arc};

use flowgate_proto::{
    DataRequest, Documents, DocumentsError, Kind, Parameters, RESULTS_KEY, Struct, Value,
    docarray::DocumentProto,
    jina::{JinaInfoProto, RouteProto},
    normalize_shared,
};

use tokio_util::task::TaskTracker;

use crate::{
    CallContext, Error, Executor, Identity, Reply, Request,
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
    /// Whether the identity is a default: then the name in the caller's Flow takes its place.
    is_identity_default: bool,
    traffic: Traffic,
    /// Work that handlers have started and that may outlive their answers.
    background: TaskTracker,
}

/// An Executor's answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The request (of a join the first one) with the Executor's documents, routes and status.
    pub request: DataRequest,
    /// Whether the Executor failed. Over gRPC this is the trailer `is-error`.
    pub is_error: bool,
}

impl Executor {
    /// Returns the service that answers requests in this process, under the names of `identity`.
    #[must_use]
    pub fn into_service(self, identity: Identity) -> Service {
        Service::new(self, identity, false)
    }

    /// As [`into_service`](Self::into_service), for an Executor that has the process to itself: `_status` shows the
    /// process's environment. Without an identity it has the name that the caller's Flow gives it, or its own.
    #[must_use]
    pub fn into_process_service(mut self, identity: Option<Identity>) -> Service {
        self.environment
            .get_or_insert_with(|| Arc::new(|key| env::var(key).ok()));
        let is_default = identity.is_none();
        let identity = identity.unwrap_or_else(|| Identity::first_replica(self.name()));
        Service::new(self, identity, is_default)
    }
}

impl Service {
    fn new(executor: Executor, identity: Identity, is_identity_default: bool) -> Self {
        let background = TaskTracker::new();
        // A closed tracker still accepts tasks; it must be closed to be waited for.
        background.close();
        Self(Arc::new(Inner {
            executor,
            identity,
            is_identity_default,
            traffic: Traffic::default(),
            background,
        }))
    }

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

    /// Answers one request, or all requests of a `no_reduce` join, that comes with nothing else. An error or panic of the
    /// handler is an answer with `is_error`.
    pub async fn process(&self, requests: Vec<DataRequest>) -> Answer {
        self.process_in(requests, CallContext::default()).await
    }

    /// As [`process`](Self::process), for a request with this context.
    pub async fn process_in(&self, requests: Vec<DataRequest>, context: CallContext) -> Answer {
        let identity = self.0.identity_for(&context);
        let Some(request) = requests.first().cloned() else {
            let error = Error::new("IndexError", "list index out of range");
            return self.error_answer(DataRequest::default(), &error, &identity);
        };
        let context = context.with_background(self.0.background.clone());
        match self.0.dispatch(requests, context, &identity).await {
            Ok(request) => Answer {
                request,
                is_error: false,
            },
            Err(DispatchError::Handler(error)) => self.error_answer(request, &error, &identity),
            Err(DispatchError::Undecodable(readable)) => {
                self.error_answer(*readable, &decode_error(), &identity)
            }
        }
    }

    /// The answer to a message that is not a valid `DataRequestProto`.
    pub(crate) fn undecodable(&self) -> Answer {
        self.error_answer(DataRequest::default(), &decode_error(), &self.0.identity)
    }

    /// Writes the error into the status of the otherwise unchanged request.
    fn error_answer(&self, mut request: DataRequest, error: &Error, identity: &Identity) -> Answer {
        tracing::error!(
            executor = identity.deployment,
            request_id = request.header.request_id,
            exec_endpoint = request.exec_endpoint(),
            error = error.with_causes(),
            "request failed"
        );
        error.write_status(&mut request.header, &self.0.executor.name);
        Answer {
            request,
            is_error: true,
        }
    }

    /// Waits until no work runs that handlers have [spawned](CallContext::spawn). A host does so before its process ends or
    /// is frozen.
    pub async fn background_done(&self) {
        self.0.background.wait().await;
    }

    /// The work that handlers have started.
    pub(crate) fn background(&self) -> TaskTracker {
        self.0.background.clone()
    }

    /// Whether the Executor [announces](Executor::background_work) work that outlives its answers.
    #[must_use]
    pub fn has_background_work(&self) -> bool {
        self.0.executor.has_background_work
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
    /// Returns the names under which a request is answered: those that were chosen for this process, else those that the
    /// caller's Flow gives the Executor, else those of its class.
    fn identity_for(&self, context: &CallContext) -> Cow<'_, Identity> {
        match context.executor() {
            Some(name) if self.is_identity_default => Cow::Owned(Identity::first_replica(name)),
            _ => Cow::Borrowed(&self.identity),
        }
    }

    async fn dispatch(
        &self,
        requests: Vec<DataRequest>,
        context: CallContext,
        identity: &Identity,
    ) -> Result<DataRequest, DispatchError> {
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
            Some(Endpoint::Plain(handler)) => {
                call_plain(handler, &requests, parameters, context).await?
            }
            Some(Endpoint::Batched(batcher)) => {
                call_batched(batcher, &requests, parameters, context).await?
            }
        };
        let first = requests.into_iter().next().unwrap_or_default();
        Self::apply(output, first, identity)
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
        output: Output,
        mut request: DataRequest,
        identity: &Identity,
    ) -> Result<DataRequest, DispatchError> {
        let Output {
            mut documents,
            results,
        } = output;
        if let Some(results) = results {
            request.parameters = merge_results(&request.parameters, results, identity)?;
        }
        normalize_shared(&mut documents);
        request.documents = Documents::from(documents);
        request.routes.push(RouteProto {
            executor: identity.deployment.clone(),
            ..RouteProto::default()
        });
        Ok(request)
    }
}

fn merge_results(
    parameters: &Parameters,
    results: Struct,
    identity: &Identity,
) -> Result<Parameters, Error> {
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
    all.fields.insert(identity.runtime.clone(), own);
    Ok(parameters.into())
}

async fn call_plain(
    handler: &Handler<Request, Reply>,
    requests: &[DataRequest],
    parameters: Struct,
    context: CallContext,
) -> Result<Output, DispatchError> {
    let decoded = decode(requests)?;
    // An unchanged reply decodes the requests again, which costs less than a copy for every handler that changes its documents.
    // Only documents with generated ids must be kept.
    let kept = (!decoded.is_repeatable).then(|| Arc::clone(&decoded.documents));
    let header = requests.first().map(|first| first.header.clone());
    let request = Request::new(header.unwrap_or_default(), parameters, decoded, context);
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
    context: CallContext,
) -> Result<Output, DispatchError> {
    if requests.len() > 1 {
        let text = "dynamic batching does not support no_reduce";
        return Err(Error::new("AssertionError", text).into());
    }
    let documents = Arc::unwrap_or_clone(decode(requests)?.documents);
    let documents = batcher.process(documents, parameters, context).await?;
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
