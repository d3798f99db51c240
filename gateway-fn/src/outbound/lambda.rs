//! Calls an Executor that is a Lambda function: plans the payloads, invokes the function, retries where that does no
//! harm, and reads the answers.

mod classify;

mod client;

mod endpoints;

mod enqueue;

mod error;

mod function;

mod payload;

mod split;

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use executor_fn::{Answer, info::Traffic};
use flowgate_grpc::blocking::{self, COMPRESSION_COST};
use flowgate_proto::{
    Compression, DRY_RUN_ENDPOINT, DataRequest, generate_id,
    invoke::{Call, Invocation},
    jina::{EndpointsProto, HeaderProto, JinaInfoProto},
    limits::{MAX_FUNCTION_TIMEOUT, MAX_INVOKE_PAYLOAD_BYTES},
};
use futures_util::{StreamExt as _, stream};
use http::HeaderMap;
use prost::Message;
use tokio::time::Instant;

use self::{
    endpoints::ListedEndpoints,
    error::InvokeError,
    function::Function,
    payload::{Chunk, PayloadPlan, Planner, Received},
    split::merge_answers,
};
use super::attempt::{AttemptError, Retry};
use crate::{
    aws::retry::Retries,
    context::{Context, Trace},
    error::{CallError, CallFailure},
};

pub use client::LambdaClient;
pub(crate) use enqueue::{EnqueueError, enqueue};

/// How every Lambda deployment of a Flow is invoked.
#[derive(Clone, Debug)]
pub struct LambdaOptions {
    /// For one attempt; `None` waits as long as a function can run.
    pub timeout: Option<Duration>,
    /// Attempts of one invocation. `None` is Jina's rule: one more than the replicas, and at least four; attempts that
    /// Lambda throttles do not count then.
    pub attempts: Option<NonZeroUsize>,
    /// Of requests. Without it, requests that do not fit otherwise are still compressed.
    pub compression: Compression,
    /// Bytes of an answer, decompressed.
    pub max_message_bytes: usize,
    /// Invocations that one request may be split into.
    pub max_parts: usize,
    /// Invocations of one split request that run at once.
    pub parallel_parts: usize,
    /// The longest pause between attempts.
    pub max_retry_pause: Duration,
    /// Whether an error's text for the client names the function and includes Lambda's own text.
    pub show_addresses: bool,
    /// Counts the bytes of requests and answers.
    pub traffic: Arc<Traffic>,
    /// Shared by all deployments.
    pub client: Arc<LambdaClient>,
}

/// A deployment's functions, which take turns.
#[derive(Debug)]
pub struct LambdaDeployment {
    name: String,
    functions: Vec<Function>,
    turn: AtomicUsize,
    max_attempts: usize,
    endpoints: Arc<ListedEndpoints>,
    /// Sent with every request, for the handlers of the Executor.
    metadata: HeaderMap,
    options: LambdaOptions,
}

impl LambdaDeployment {
    /// Prepares the deployment; nothing is built or invoked yet. A function is a name or an ARN, with or without a
    /// qualifier.
    #[must_use]
    pub fn new<'a>(
        name: &str,
        functions: impl IntoIterator<Item = &'a str>,
        options: &LambdaOptions,
    ) -> Self {
        let functions: Vec<_> = functions.into_iter().map(Function::parse).collect();
        Self {
            name: name.to_owned(),
            max_attempts: super::max_attempts(options.attempts, functions.len()),
            functions,
            turn: AtomicUsize::new(0),
            endpoints: Arc::default(),
            metadata: HeaderMap::new(),
            options: options.clone(),
        }
    }

    /// Sets what is sent to the Executor's handlers with every request, as the metadata of a gRPC call.
    #[must_use]
    pub fn with_metadata(self, metadata: HeaderMap) -> Self {
        Self { metadata, ..self }
    }

    pub(super) async fn call(
        &self,
        parts: Vec<DataRequest>,
        context: &Context,
    ) -> Result<Answer, CallError> {
        let result = self.process(parts, context).await;
        result.map_err(|error| self.call_error(error, context))
    }

    /// Returns the endpoints that the first answer listed, once; `Some(None)` if it did not list them, so that
    /// [`LambdaDeployment::endpoints`] has to ask.
    pub(crate) fn take_listed_endpoints(&self) -> Option<Option<Vec<String>>> {
        self.endpoints.take()
    }

    /// Invokes the function to list the endpoints that the Executor binds.
    pub(super) async fn endpoints(&self) -> Result<Vec<String>, CallError> {
        let answer: EndpointsProto = self.query(Call::Endpoints).await?;
        Ok(answer.endpoints)
    }

    /// Returns the Executor's status.
    ///
    /// # Errors
    /// When the invocation failed.
    pub async fn status(&self) -> Result<JinaInfoProto, CallError> {
        self.query(Call::Status).await
    }

    /// Returns a deployment for each function.
    pub(crate) fn per_function(&self) -> impl Iterator<Item = Self> {
        self.functions.iter().map(|function| Self {
            name: self.name.clone(),
            functions: vec![function.clone()],
            turn: AtomicUsize::new(0),
            max_attempts: self.max_attempts,
            endpoints: Arc::clone(&self.endpoints),
            metadata: self.metadata.clone(),
            options: self.options.clone(),
        })
    }

    /// Whether the functions are in AWS and not in an emulator.
    pub(crate) fn is_on_aws(&self) -> bool {
        self.options.client.is_on_aws()
    }

    /// The region of the first function, if its address is an ARN.
    pub(crate) fn region(&self) -> Option<&str> {
        self.functions.first()?.region.as_deref()
    }

    /// Lets Lambda check that the function can be invoked. This finds the credentials and opens the connection.
    ///
    /// # Errors
    /// When the function cannot be invoked.
    pub(crate) async fn connect(&self) -> Result<(), CallError> {
        let result = match encode(&Invocation::new(Call::Endpoints)) {
            Ok(payload) => {
                let check = self.options.client.check(self.next_function(), payload);
                let result = check.await.map(drop);
                result.map_err(|error| classify::sdk_error(&error, 0))
            }
            Err(error) => Err(error),
        };
        result.map_err(|error| self.call_error(error, &Context::default()))
    }

    /// Starts the function by an empty request, with which the Executor does nothing.
    ///
    /// # Errors
    /// When the invocation failed.
    pub async fn dry_run(&self, context: &Context) -> Result<(), CallError> {
        let request = DataRequest {
            header: HeaderProto {
                request_id: generate_id(),
                exec_endpoint: Some(DRY_RUN_ENDPOINT.to_owned()),
                ..HeaderProto::default()
            },
            ..DataRequest::default()
        };
        self.call(vec![request], context).await.map(drop)
    }

    async fn process(
        &self,
        parts: Vec<DataRequest>,
        context: &Context,
    ) -> Result<Answer, AttemptError> {
        let empty = self.with_context(Invocation::new(Call::Process), context);
        let planner = Planner {
            compression: self.options.compression,
            max_body_bytes: MAX_INVOKE_PAYLOAD_BYTES
                .saturating_sub(encode(&empty)?.len() + KEYS_BYTES),
            max_parts: self.options.max_parts,
        };
        let bytes = parts.iter().map(Message::encoded_len).sum();
        match run_blocking(bytes, move || planner.plan(parts)).await? {
            PayloadPlan::Whole(chunk) => self.process_chunk(chunk, context).await,
            PayloadPlan::Split { request, chunks } => {
                self.process_split(*request, chunks, context).await
            }
        }
    }

    async fn process_chunk(
        &self,
        mut chunk: Chunk,
        context: &Context,
    ) -> Result<Answer, AttemptError> {
        chunk.invocation.list_endpoints = self.endpoints.are_wanted();
        let Received {
            message,
            is_error,
            endpoints,
        } = self
            .invoke(chunk.invocation, chunk.raw_bytes, context)
            .await?;
        self.endpoints.keep(endpoints);
        Ok(Answer {
            request: message,
            is_error,
        })
    }

    /// Sends a request in several invocations, some of them at once. The first error ends all of them and is the error
    /// of the request.
    async fn process_split(
        &self,
        request: DataRequest,
        chunks: Vec<Chunk>,
        context: &Context,
    ) -> Result<Answer, AttemptError> {
        let (executor, invocations) = (&self.name, chunks.len());
        tracing::debug!(executor, invocations, "request is split");
        let calls = chunks
            .into_iter()
            .map(|chunk| self.process_chunk(chunk, context));
        let mut answers = stream::iter(calls).buffered(self.options.parallel_parts);
        let mut received = Vec::with_capacity(invocations);
        while let Some(answer) = answers.next().await {
            let mut answer = answer.map_err(|error| AttemptError {
                // Other parts of the request may have run, so that the whole must not be repeated.
                retry: Retry::Never,
                ..error
            })?;
            if answer.is_error {
                // As over gRPC, an error comes with the documents of the request.
                answer.request.documents = request.documents;
                return Ok(answer);
            }
            received.push(answer.request);
        }
        Ok(Answer {
            request: merge_answers(&request.parameters, received)?,
            is_error: false,
        })
    }

    /// Makes a call that carries no documents.
    async fn query<M>(&self, call: Call) -> Result<M, CallError>
    where
        M: Message + Default + Send + 'static,
    {
        let context = Context {
            deadline: Some(Instant::now() + QUERY_TIMEOUT),
            ..Context::default()
        };
        let result = self.invoke(Invocation::new(call), 0, &context).await;
        let result = result.map(|received: Received<M>| received.message);
        result.map_err(|error| self.call_error(error, &context))
    }

    /// Invokes a function. Retries with jitter after throttling and service errors; never retries a function that may
    /// have run.
    async fn invoke<M>(
        &self,
        invocation: Invocation<'static>,
        raw_bytes: usize,
        context: &Context,
    ) -> Result<Received<M>, AttemptError>
    where
        M: Message + Default + Send + 'static,
    {
        let mut invocation = self.with_context(invocation, context);
        let mut retries = self.retries(context);
        loop {
            let function = self.next_function();
            let timeout = context.timeout(self.options.timeout);
            let timeout = timeout.unwrap_or(MAX_TIMEOUT).min(MAX_TIMEOUT);
            invocation.deadline = Some(unix_millis_after(timeout));
            let payload = encode(&invocation)?;
            self.options
                .traffic
                .add_invocation(raw_bytes, payload.len());
            let attempt = self.invoke_once(function, payload, raw_bytes, context);
            let error = match tokio::time::timeout(timeout, attempt).await {
                Ok(Ok(received)) => return Ok(received),
                Ok(Err(error)) => error,
                Err(_) => AttemptError::timed_out(),
            };
            let (executor, function) = (&self.name, &function.address);
            tracing::debug!(executor, function, %error, "invocation failed");
            retries.wait_after(error, context.remaining()).await?;
        }
    }

    async fn invoke_once<M>(
        &self,
        function: &Function,
        payload: Vec<u8>,
        raw_bytes: usize,
        context: &Context,
    ) -> Result<Received<M>, AttemptError>
    where
        M: Message + Default + Send + 'static,
    {
        let client = &self.options.client;
        let output = client
            .invoke(function, payload, context.trace.xray())
            .await
            .map_err(|error| classify::sdk_error(&error, raw_bytes))?;
        let payload = output
            .payload
            .map(aws_sdk_lambda::primitives::Blob::into_inner);
        let payload = payload.unwrap_or_default();
        if output.function_error.is_some() {
            return Err(classify::function_error(&payload, raw_bytes));
        }
        let (wire_bytes, max_bytes) = (payload.len(), self.options.max_message_bytes);
        let read = move || payload::read(&payload, max_bytes);
        let received: Received<M> = run_blocking(wire_bytes, read).await?;
        let answer_bytes = received.message.encoded_len();
        self.options
            .traffic
            .add_invocation_answer(answer_bytes, wire_bytes);
        Ok(received)
    }

    /// Returns the attempts that an invocation may take. Without a number in the Flow, throttling and functions that are
    /// not ready yet are waited out for a large part of the remaining time.
    fn retries(&self, context: &Context) -> Retries {
        let retries = Retries::new(self.max_attempts, self.options.max_retry_pause);
        if self.options.attempts.is_some() {
            return retries;
        }
        retries.waiting_out_throttling(throttling_wait(context))
    }

    /// Adds to the payload what the function may read beside the request: the Executor's name in the Flow, its metadata, and
    /// the W3C trace. X-Ray's trace is a header of the Invoke request.
    fn with_context<'a>(
        &self,
        mut invocation: Invocation<'a>,
        context: &Context,
    ) -> Invocation<'a> {
        if let Call::Process = invocation.call {
            invocation.executor = Some(self.name.clone());
            let texts = self.metadata.iter().filter_map(|(name, value)| {
                let value = value.to_str().ok()?;
                Some((name.as_str().to_owned(), value.to_owned()))
            });
            invocation.metadata = texts.collect();
        }
        let w3c = context
            .trace
            .iter()
            .filter(|(name, _)| *name != Trace::XRAY);
        invocation.trace = w3c
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        invocation
    }

    fn next_function(&self) -> &Function {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.functions[turn % self.functions.len()]
    }

    fn call_error(&self, error: AttemptError, context: &Context) -> CallError {
        if context.is_expired() && matches!(error.failure, CallFailure::TimedOut) {
            return CallError::deadline_exceeded(&self.name);
        }
        let addresses = self.functions.iter();
        let addresses = addresses.map(|function| function.address.clone());
        error.into_call_error(&self.name, addresses.collect(), self.options.show_addresses)
    }
}

/// Returns how long throttling is waited out.
fn throttling_wait(context: &Context) -> Duration {
    match context.remaining() {
        // The rest is for the function's run.
        Some(remaining) => remaining / 4 * 3,
        None => MAX_THROTTLING_WAIT,
    }
}

fn encode(invocation: &Invocation<'_>) -> Result<Vec<u8>, AttemptError> {
    let payload = invocation.to_json().map_err(std::io::Error::from);
    payload.map_err(|error| InvokeError::Encode(error).into())
}

/// Compresses, or decompresses and decodes, this many bytes, on another thread if it would keep other requests waiting.
async fn run_blocking<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, InvokeError> + Send + 'static,
) -> Result<T, InvokeError> {
    let cost = bytes.saturating_mul(COMPRESSION_COST);
    let panicked = |_| Err(InvokeError::Encode(std::io::Error::other("internal error")));
    blocking::run(cost, work).await.unwrap_or_else(panicked)
}

fn unix_millis_after(duration: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let then = now.unwrap_or_default().saturating_add(duration);
    u64::try_from(then.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes of the keys that an empty invocation does not have: body, encoding and deadline.
const KEYS_BYTES: usize = 128;

/// As long as a function can run, and a minute more for its start and the network.
const MAX_TIMEOUT: Duration = MAX_FUNCTION_TIMEOUT.saturating_add(Duration::from_secs(60));

/// How long throttling is waited out for a request without a deadline: as long as for one behind API Gateway, whose
/// deadline is 29 s.
const MAX_THROTTLING_WAIT: Duration = Duration::from_secs(20);

/// How long a function may take to return its endpoints or status: longer than a cold start, and as long as a gRPC peer.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
