//! The dispatch core: requests of Jina's wire to one answer, by Jina 3.13's rules for an Executor.
//! It knows nothing of gRPC: a Gateway calls it in its own process all the same.

use std::{fmt, sync::Arc};

use flowgate_proto::{
    DataRequest, Documents, DocumentsError, Kind, Parameters, RESULTS_KEY, Struct, Value,
    docarray::DocumentProto,
    jina::{JinaInfoProto, RouteProto},
    normalise_all,
};

use crate::{
    Error, Executor, Identity, Reply, Request,
    batch::Batcher,
    endpoint::{Endpoint, Handler, Target, call},
    info::{Traffic, jina_info},
    request::Read,
};

/// An Executor under its deployment's name. A clone is the same Executor.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    executor: Executor,
    identity: Identity,
    traffic: Traffic,
}

/// What an Executor answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The first request with what the Executor did to it.
    pub request: DataRequest,
    /// Whether it failed: over gRPC the trailer `is-error`.
    pub is_error: bool,
}

/// A request whose handler panicked.
pub(crate) struct Panicked {
    /// The first request as it came.
    pub(crate) request: DataRequest,
    /// The panic's message as an error.
    pub(crate) error: Error,
}

impl Service {
    pub(crate) fn new(executor: Executor, identity: Identity) -> Self {
        Self(Arc::new(Inner {
            executor,
            identity,
            traffic: Traffic::default(),
        }))
    }

    /// The names it answers to, `_jina_dry_run_` last.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.0.executor.table.names()
    }

    /// The deployment's name.
    #[must_use]
    pub fn deployment(&self) -> &str {
        &self.0.identity.deployment
    }

    /// Answers one request, or the several requests of a no_reduce join.
    pub async fn process(&self, requests: Vec<DataRequest>) -> Answer {
        self.try_process(requests).await.unwrap_or_else(|panicked| {
            let Panicked { request, error } = *panicked;
            self.failed(request, &error)
        })
    }

    /// As [`process`](Self::process), but a panic is told apart from an error.
    pub(crate) async fn try_process(
        &self,
        requests: Vec<DataRequest>,
    ) -> Result<Answer, Box<Panicked>> {
        let Some(request) = requests.first().cloned() else {
            let error = Error::new("IndexError", "list index out of range");
            return Ok(self.failed(DataRequest::default(), &error));
        };
        match self.0.answer(requests).await {
            Ok(request) => Ok(Answer {
                request,
                is_error: false,
            }),
            Err(Failure::Raised(error)) if error.is_panic() => {
                Err(Box::new(Panicked { request, error }))
            }
            Err(Failure::Raised(error)) => Ok(self.failed(request, &error)),
            Err(Failure::Unreadable(readable)) => Ok(self.failed(*readable, &undecodable())),
        }
    }

    /// The answer to bytes that are no request at all.
    pub(crate) fn undecodable(&self) -> Answer {
        self.failed(DataRequest::default(), &undecodable())
    }

    /// The request as it came, with the error in its status.
    fn failed(&self, mut request: DataRequest, error: &Error) -> Answer {
        let Inner {
            executor, identity, ..
        } = &*self.0;
        tracing::error!(
            deployment = identity.deployment,
            request_id = request.header.request_id,
            exec_endpoint = request.exec_endpoint(),
            "{}",
            error.chain()
        );
        error.write(&mut request.header, &executor.name);
        Answer {
            request,
            is_error: true,
        }
    }

    /// What `_status` tells.
    #[must_use]
    pub fn info(&self) -> JinaInfoProto {
        let environment = self.0.executor.environment.as_deref();
        jina_info(|key| {
            let ours = self.traffic().variable(key);
            ours.or_else(|| environment?(key))
        })
    }

    /// Bytes of requests and answers so far, which the one who carries them counts.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// Stops waiting: batches are worked on as they are, now and from now on.
    pub fn close(&self) {
        self.0.executor.closing.cancel();
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

/// Why there is no answer.
enum Failure {
    Raised(Error),
    /// What is left of the first request when fields that cannot be decoded, and would make the
    /// answer unreadable too, are taken off.
    Unreadable(Box<DataRequest>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Raised(error)
    }
}

impl Inner {
    async fn answer(&self, requests: Vec<DataRequest>) -> Result<DataRequest, Failure> {
        let Some(first) = requests.first() else {
            return Ok(DataRequest::default());
        };
        let endpoint = match self
            .executor
            .table
            .find(first.exec_endpoint().unwrap_or_default())
        {
            Target::Skip => return Ok(first.clone()),
            Target::DryRun => None,
            Target::Bound(endpoint) => Some(endpoint),
        };
        let parameters = self.parameters(first)?;
        let reply = match endpoint {
            None => Reply::documents(read(&requests)?.documents),
            Some(Endpoint::Plain(handler)) => plain(handler, &requests, parameters).await?,
            Some(Endpoint::Batched(batcher)) => batched(batcher, &requests, parameters).await?,
        };
        let first = requests.into_iter().next().unwrap_or_default();
        self.write(first, reply)
    }

    /// The request's parameters, the object under the Executor's name merged over them.
    fn parameters(&self, request: &DataRequest) -> Result<Struct, Failure> {
        let decoded = request.parameters.decode();
        let mut parameters = decoded.map_err(|_| unreadable(request))?;
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
                return Err(Error::new(
                    "TypeError",
                    format!("the parameter {name:?} must be an object: it holds the parameters for the Executor of that name"),
                )
                .into());
            }
            Some(_) | None => {}
        }
        Ok(parameters)
    }

    /// Puts the reply into the first request and this Executor at the end of its routes; without
    /// times, as a Jina Executor does (recording `grpc/22-executor_direct_echo`).
    fn write(&self, mut request: DataRequest, reply: Reply) -> Result<DataRequest, Failure> {
        if let Some(results) = reply.results {
            request.parameters = self.with_results(&request.parameters, results)?;
        }
        let mut documents = reply.documents.unwrap_or_default();
        normalise_all(&mut documents);
        request.documents = Documents::from(documents);
        request.routes.push(RouteProto {
            executor: self.identity.deployment.clone(),
            ..RouteProto::default()
        });
        Ok(request)
    }

    fn with_results(&self, parameters: &Parameters, results: Struct) -> Result<Parameters, Error> {
        let mut parameters = parameters.decode()?;
        let all = parameters.fields.entry(RESULTS_KEY.to_owned()).or_default();
        let all = all
            .kind
            .get_or_insert_with(|| Kind::StructValue(Struct::default()));
        let Kind::StructValue(all) = all else {
            return Err(Error::new(
                "TypeError",
                format!("the parameter {RESULTS_KEY:?} must be an object"),
            ));
        };
        let own = Value {
            kind: Some(Kind::StructValue(results)),
        };
        all.fields.insert(self.identity.runtime.clone(), own);
        Ok(parameters.into())
    }
}

async fn plain(
    handler: &Handler<Request, Reply>,
    requests: &[DataRequest],
    parameters: Struct,
) -> Result<Reply, Failure> {
    let read = read(requests)?;
    // A second reading gives back what the handler left alone; only ids made here must be kept.
    let kept = (!read.repeatable).then(|| read.documents.clone());
    let header = requests.first().map(|first| first.header.clone());
    let request = Request::new(header.unwrap_or_default(), parameters, read);
    let mut reply = call(handler, request).await?;
    if reply.documents.is_none() {
        reply.documents = Some(kept_or_read(kept, requests)?);
    }
    Ok(reply)
}

fn kept_or_read(
    kept: Option<Vec<DocumentProto>>,
    requests: &[DataRequest],
) -> Result<Vec<DocumentProto>, Failure> {
    match kept {
        Some(documents) => Ok(documents),
        None => Ok(read(requests)?.documents),
    }
}

async fn batched(
    batcher: &Batcher,
    requests: &[DataRequest],
    parameters: Struct,
) -> Result<Reply, Failure> {
    if requests.len() > 1 {
        return Err(Error::new(
            "AssertionError",
            "dynamic batching does not support no_reduce",
        )
        .into());
    }
    let documents = batcher.push(read(requests)?.documents, parameters).await?;
    Ok(Reply::documents(documents))
}

fn read(requests: &[DataRequest]) -> Result<Read, Failure> {
    Read::requests(requests).map_err(|error| match error {
        DocumentsError::Malformed(_) => requests
            .first()
            .map_or_else(|| undecodable().into(), unreadable),
        DocumentsError::Pickled => Error::new("UnpicklingError", error.to_string()).into(),
    })
}

/// What can be read of the first request: of a join, it may be another part that cannot.
fn unreadable(first: &DataRequest) -> Failure {
    let mut readable = first.clone();
    if readable.parameters.decode().is_err() {
        readable.parameters = Parameters::default();
    }
    if let Err(DocumentsError::Malformed(_)) = readable.documents.decode() {
        readable.documents = Documents::default();
    }
    Failure::Unreadable(Box::new(readable))
}

/// As a Jina 3.13 Executor says it of a request, or of documents in one, that cannot be decoded.
fn undecodable() -> Error {
    Error::new(
        "DecodeError",
        "Error parsing message with type 'jina.DataRequestProto'",
    )
}

/// Whether Python takes the value for false; Jina ignores such parameters under an Executor's name.
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
