//! A call to an Executor that is a Lambda function: payloads out, invocations repeated where that is safe, answers back.

mod client;

mod event;

mod fault;

mod function;

mod payload;

mod refusal;

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
use flowgate_proto::{
    Compression, DRY_RUN_ENDPOINT, DataRequest, generate_id,
    invoke::{Call, Invocation},
    jina::{EndpointsProto, HeaderProto, JinaInfoProto},
    limits::{MAX_FUNCTION_TIMEOUT, MAX_INVOKE_PAYLOAD_BYTES},
};
use futures_util::{StreamExt as _, stream};
use prost::Message;
use tokio::time::Instant;

use self::{
    function::Function,
    payload::{Ladder, Load, Piece, Received},
    refusal::Refusal,
    split::put_together,
};
use super::{CallError, Failure};
use crate::{
    aws::retry::Retries,
    context::{Context, Trace},
};

pub use client::LambdaClient;
pub(crate) use event::enqueue;
pub use fault::{ErrorType, InvokeFault, NotSplittable};

/// How every Lambda deployment of a Flow is invoked.
#[derive(Clone, Debug)]
pub struct LambdaOptions {
    /// For one try; `None` waits as long as a function can run.
    pub timeout: Option<Duration>,
    /// Tries of one invocation. `None`: Jina's rule, one more than the replicas and at least four.
    pub tries: Option<NonZeroUsize>,
    /// Of requests that fit so; others are compressed in any case.
    pub compression: Compression,
    /// Bytes of an answer, decompressed.
    pub max_message_bytes: usize,
    /// Invocations that one request may be split into.
    pub max_parts: usize,
    /// Invocations of one split request at once.
    pub parallel_parts: usize,
    /// The longest pause between tries.
    pub max_retry_pause: Duration,
    /// Whether an error's text for the client names the function, and what Lambda said of it.
    pub show_addresses: bool,
    /// Counts bytes.
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
    tries: usize,
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
        let functions: Vec<_> = functions.into_iter().map(Function::of).collect();
        // Facts of Jina 3.13: 1 + retries, else max(3, replicas) + 1.
        let tries = options
            .tries
            .map_or_else(|| functions.len().max(3) + 1, NonZeroUsize::get);
        Self {
            name: name.to_owned(),
            functions,
            turn: AtomicUsize::new(0),
            tries,
            options: options.clone(),
        }
    }

    pub(super) async fn call(
        &self,
        parts: Vec<DataRequest>,
        context: &Context,
    ) -> Result<Answer, CallError> {
        let answer = self.process(parts, context).await;
        answer.map_err(|refusal| self.error(refusal, context))
    }

    /// The endpoints that the Executor binds.
    pub(super) async fn endpoints(&self) -> Result<Vec<String>, CallError> {
        let answer: EndpointsProto = self.ask(Call::Endpoints).await?;
        Ok(answer.endpoints)
    }

    /// What the Executor says about itself.
    ///
    /// # Errors
    /// When it gave no answer.
    pub async fn status(&self) -> Result<JinaInfoProto, CallError> {
        self.ask(Call::Status).await
    }

    /// Each function as a deployment of its own.
    pub(crate) fn per_function(&self) -> impl Iterator<Item = Self> {
        self.functions.iter().map(|function| Self {
            name: self.name.clone(),
            functions: vec![function.clone()],
            turn: AtomicUsize::new(0),
            tries: self.tries,
            options: self.options.clone(),
        })
    }

    /// Whether AWS itself is invoked.
    pub(crate) fn is_on_aws(&self) -> bool {
        self.options.client.is_on_aws()
    }

    /// The region of the first function, if its address says one.
    pub(crate) fn region(&self) -> Option<&str> {
        self.functions.first()?.region.as_deref()
    }

    /// Has Lambda check that the function could be invoked: finds the credentials and makes the connection.
    ///
    /// # Errors
    /// When it could not be.
    pub(crate) async fn connect(&self) -> Result<(), CallError> {
        let payload = written(&Invocation::new(Call::Endpoints));
        let outcome = match payload {
            Ok(payload) => {
                let tried = self.options.client.try_invoke(self.next(), payload).await;
                tried.map(drop).map_err(|error| Refusal::of_sdk(&error, 0))
            }
            Err(refusal) => Err(refusal),
        };
        outcome.map_err(|refusal| self.error(refusal, &Context::default()))
    }

    /// Sends an empty request that the Executor does nothing with: the function is started.
    ///
    /// # Errors
    /// When it gave no answer.
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

    async fn process(&self, parts: Vec<DataRequest>, context: &Context) -> Result<Answer, Refusal> {
        let frame = framed(Invocation::new(Call::Process), context);
        let ladder = Ladder {
            compression: self.options.compression,
            room: MAX_INVOKE_PAYLOAD_BYTES.saturating_sub(written(&frame)?.len() + FRAME_BYTES),
            max_parts: self.options.max_parts,
        };
        let bytes = parts.iter().map(Message::encoded_len).sum();
        match worked(bytes, move || ladder.climb(parts)).await? {
            Load::Whole(piece) => self.process_piece(piece, context).await,
            Load::Split { request, pieces } => self.process_split(*request, pieces, context).await,
        }
    }

    async fn process_piece(&self, piece: Piece, context: &Context) -> Result<Answer, Refusal> {
        let received = self
            .invoke(piece.invocation, piece.raw_bytes, context)
            .await?;
        Ok(Answer {
            request: received.message,
            is_error: received.is_error,
        })
    }

    /// Several invocations for one request, some of them at once. The first error is the whole's, and ends the rest.
    async fn process_split(
        &self,
        request: DataRequest,
        pieces: Vec<Piece>,
        context: &Context,
    ) -> Result<Answer, Refusal> {
        let (executor, parts) = (&self.name, pieces.len());
        tracing::debug!(executor, parts, "a request is split");
        let invocations = pieces
            .into_iter()
            .map(|piece| self.process_piece(piece, context));
        let mut answers = stream::iter(invocations).buffered(self.options.parallel_parts);
        let mut said = Vec::with_capacity(parts);
        while let Some(answer) = answers.next().await {
            let mut answer = answer?;
            if answer.is_error {
                // As over gRPC: the request as it came, with the error.
                answer.request.documents = request.documents;
                return Ok(answer);
            }
            said.push(answer.request);
        }
        Ok(Answer {
            request: put_together(&request.parameters, said)?,
            is_error: false,
        })
    }

    async fn ask<M>(&self, call: Call) -> Result<M, CallError>
    where
        M: Message + Default + Send + 'static,
    {
        let context = Context {
            deadline: Some(Instant::now() + ASK_TIMEOUT),
            ..Context::default()
        };
        let answer = self.invoke(Invocation::new(call), 0, &context).await;
        let answer = answer.map(|received: Received<M>| received.message);
        answer.map_err(|refusal| self.error(refusal, &context))
    }

    /// One invocation, repeated where that may help and cannot harm.
    async fn invoke<M>(
        &self,
        invocation: Invocation<'static>,
        raw_bytes: usize,
        context: &Context,
    ) -> Result<Received<M>, Refusal>
    where
        M: Message + Default + Send + 'static,
    {
        let mut invocation = framed(invocation, context);
        let mut retries = Retries::new(self.tries, self.options.max_retry_pause);
        loop {
            let function = self.next();
            let time = context.time_for(self.options.timeout);
            let time = time.unwrap_or(LONGEST).min(LONGEST);
            invocation.deadline = Some(unix_millis(time));
            let payload = written(&invocation)?;
            self.options.traffic.invoked(raw_bytes, payload.len());
            let answer =
                tokio::time::timeout(time, self.try_once(function, payload, raw_bytes, context));
            let refusal = match answer.await {
                Ok(Ok(received)) => return Ok(received),
                Ok(Err(refusal)) => refusal,
                Err(_) => Refusal::timed_out(),
            };
            let (executor, function) = (&self.name, &function.address);
            tracing::debug!(executor, function, ?refusal, "an invocation failed");
            retries.wait_after(refusal, context.left()).await?;
        }
    }

    async fn try_once<M>(
        &self,
        function: &Function,
        payload: Vec<u8>,
        raw_bytes: usize,
        context: &Context,
    ) -> Result<Received<M>, Refusal>
    where
        M: Message + Default + Send + 'static,
    {
        let client = &self.options.client;
        let output = client
            .invoke(function, payload, context.trace.xray())
            .await
            .map_err(|error| Refusal::of_sdk(&error, raw_bytes))?;
        let payload = output
            .payload
            .map(aws_sdk_lambda::primitives::Blob::into_inner);
        let payload = payload.unwrap_or_default();
        if output.function_error.is_some() {
            return Err(Refusal::of_function(&payload, raw_bytes));
        }
        let (wire, limit) = (payload.len(), self.options.max_message_bytes);
        let received: Received<M> = worked(wire, move || payload::read(&payload, limit)).await?;
        let raw = received.message.encoded_len();
        self.options.traffic.answered(raw, wire);
        Ok(received)
    }

    fn next(&self) -> &Function {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.functions[turn % self.functions.len()]
    }

    fn error(&self, refusal: Refusal, context: &Context) -> CallError {
        if context.is_over() && matches!(refusal.failure, Failure::TimedOut) {
            return CallError::out_of_time(&self.name);
        }
        CallError {
            deployment: self.name.clone(),
            addresses: self
                .functions
                .iter()
                .map(|function| function.address.clone())
                .collect(),
            shown: self.options.show_addresses,
            failure: refusal.failure,
            peer_detail: refusal.detail,
            trailers: Box::default(),
        }
    }
}

/// The invocation with the trace that goes with every call: W3C's in the payload, X-Ray's is a header.
fn framed<'a>(mut invocation: Invocation<'a>, context: &Context) -> Invocation<'a> {
    let w3c = context
        .trace
        .iter()
        .filter(|(name, _)| *name != Trace::XRAY);
    invocation.trace = w3c
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    invocation
}

fn written(invocation: &Invocation<'_>) -> Result<Vec<u8>, Refusal> {
    let written = invocation.to_json().map_err(std::io::Error::from);
    written.map_err(|error| InvokeFault::Unwritable(error).into())
}

/// Work on so many bytes, where it keeps nobody else waiting.
async fn worked<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, InvokeFault> + Send + 'static,
) -> Result<T, InvokeFault> {
    if bytes <= AT_ONCE_BYTES {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(InvokeFault::Unwritable(error.into())))
}

fn unix_millis(from_now: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let then = now.unwrap_or_default().saturating_add(from_now);
    u64::try_from(then.as_millis()).unwrap_or(u64::MAX)
}

/// For the keys that an empty invocation does not write: body, encoding and deadline.
const FRAME_BYTES: usize = 128;

/// As long as a function can run, and a minute more for its start and the way.
const LONGEST: Duration = MAX_FUNCTION_TIMEOUT.saturating_add(Duration::from_secs(60));

/// How long a function may take to tell its endpoints or status: longer than a cold start, as for a gRPC peer.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Compressing and decoding this much takes about ten milliseconds.
const AT_ONCE_BYTES: usize = 1 << 20;
