//! What accompanies a request beside its documents and parameters: what the caller passes on, the deadline, the invocation
//! where the Executor is a Lambda function, and work that may outlive the answer.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::Error;

/// X-Ray's header, in lower case.
const XRAY_HEADER: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// What accompanies a request to an Executor, in every home: over gRPC, as a Lambda function and inside a Gateway. What a
/// home does not have is `None`. A default one has nothing. Clones are cheap.
#[derive(Clone, Default)]
pub struct CallContext(Arc<Inner>);

#[derive(Clone, Default)]
struct Inner {
    executor: Option<String>,
    metadata: HeaderMap,
    deadline: Option<Instant>,
    lambda: Option<LambdaContext>,
    background: Option<TaskTracker>,
}

/// The invocation of a Lambda function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LambdaContext {
    /// The request id of the invocation, which every line of Lambda's own log has.
    pub request_id: String,
    /// The ARN by which the function was invoked, with the version or alias if the caller named one.
    pub function_arn: String,
    /// When Lambda ends the function. `None` in an emulator that gives no time in the future.
    pub deadline: Option<SystemTime>,
    /// The tenant for which the function was invoked, if it isolates tenants (AWS Lambda, "Tenant isolation").
    pub tenant_id: Option<String>,
    /// X-Ray's trace header: `Root=1-…;Parent=…;Sampled=1`.
    pub xray_trace_id: Option<String>,
}

impl CallContext {
    /// The name of this Executor in the Flow of the Gateway that calls it. A Gateway sends it to a Lambda function and to an
    /// Executor in its own process; over gRPC, Jina's protocol has no place for it.
    #[must_use]
    pub fn executor(&self) -> Option<&str> {
        self.0.executor.as_deref()
    }

    /// The metadata `name`, in lower case, if it is text: a header of the trace (`traceparent`, `tracestate`,
    /// `x-amzn-trace-id`), or an entry of the Flow's `grpc_metadata` for this Executor.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.0.metadata.get(name)?.to_str().ok()
    }

    /// All metadata. Over gRPC these are all headers of the call apart from gRPC's own.
    #[must_use]
    pub fn all_metadata(&self) -> &HeaderMap {
        &self.0.metadata
    }

    /// When the answer has to be there; `None` without a limit. After it the handler is cancelled.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// The time until the deadline, zero once it has passed; `None` without a deadline.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = self.deadline()?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// The invocation, if the process is a Lambda function.
    #[must_use]
    pub fn lambda(&self) -> Option<&LambdaContext> {
        self.0.lambda.as_ref()
    }

    /// Runs work that may outlive the answer, such as writing to an index or sending statistics. A panic in it is logged.
    ///
    /// A host waits for such work before it ends: a gRPC server when it stops, and a function before Lambda freezes it, up to
    /// the function's timeout. See [`Executor::background_work`](crate::Executor::background_work).
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let work = async move {
            if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                let error = Error::from_panic(panic.as_ref());
                tracing::error!(%error, "background work panicked");
            }
        };
        let work = work.in_current_span();
        match &self.0.background {
            Some(tracker) => drop(tracker.spawn(work)),
            None => drop(tokio::spawn(work)),
        }
    }

    /// Sets the name of the Executor in the caller's Flow. An empty name counts as missing.
    #[must_use]
    pub fn with_executor(mut self, name: Option<String>) -> Self {
        self.edit().executor = name.filter(|name| !name.is_empty());
        self
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: HeaderMap) -> Self {
        self.edit().metadata = metadata;
        self
    }

    /// Sets the deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.edit().deadline = deadline;
        self
    }

    /// Sets the invocation. Its X-Ray header becomes metadata, unless there is one already.
    #[must_use]
    pub fn with_lambda(mut self, lambda: LambdaContext) -> Self {
        let inner = self.edit();
        let xray = lambda.xray_trace_id.as_deref();
        if let Some(xray) = xray.and_then(|xray| HeaderValue::from_str(xray).ok()) {
            // Fails if there are 32,768 others.
            if let Ok(entry) = inner.metadata.try_entry(XRAY_HEADER) {
                entry.or_insert(xray);
            }
        }
        inner.lambda = Some(lambda);
        self
    }

    pub(crate) fn with_background(mut self, background: TaskTracker) -> Self {
        self.edit().background = Some(background);
        self
    }

    fn edit(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }
}

/// Contexts are equal that say the same about a request. Where their background work runs does not count.
impl PartialEq for CallContext {
    fn eq(&self, other: &Self) -> bool {
        let facts = |inner: &Inner| {
            let deadline = inner.deadline;
            (inner.executor.clone(), deadline, inner.lambda.clone())
        };
        facts(&self.0) == facts(&other.0) && self.0.metadata == other.0.metadata
    }
}

/// Leaves out the values of the metadata, which may be secrets.
impl fmt::Debug for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata: Vec<_> = self.0.metadata.keys().map(HeaderName::as_str).collect();
        f.debug_struct("CallContext")
            .field("executor", &self.0.executor)
            .field("metadata", &metadata)
            .field("deadline", &self.0.deadline)
            .field("lambda", &self.0.lambda)
            .finish_non_exhaustive()
    }
}

impl LambdaContext {
    /// Creates a context from that of the runtime library.
    #[must_use]
    pub fn from_runtime(context: &lambda_runtime::Context) -> Self {
        Self {
            request_id: context.request_id.clone(),
            function_arn: context.invoked_function_arn.clone(),
            deadline: crate::invoke::invocation_end(context.deadline),
            tenant_id: context.tenant_id.clone(),
            xray_trace_id: context.xray_trace_id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_xray_header_of_the_invocation_is_metadata() {
        let lambda = LambdaContext {
            xray_trace_id: Some("Root=1".to_owned()),
            ..LambdaContext::default()
        };
        let context = CallContext::default().with_lambda(lambda.clone());
        assert_eq!(context.metadata("x-amzn-trace-id"), Some("Root=1"));
        let mut metadata = HeaderMap::new();
        metadata.insert(XRAY_HEADER, HeaderValue::from_static("Root=2"));
        let context = CallContext::default()
            .with_metadata(metadata)
            .with_lambda(lambda);
        assert_eq!(context.metadata("x-amzn-trace-id"), Some("Root=2"));
    }

    #[test]
    fn values_of_metadata_are_not_in_logs() {
        let mut metadata = HeaderMap::new();
        metadata.insert("authorization", HeaderValue::from_static("swordfish"));
        let context = CallContext::default().with_metadata(metadata);
        let text = format!("{context:?}");
        assert!(text.contains("authorization"), "{text}");
        assert!(!text.contains("swordfish"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_remaining_time_ends_at_zero() {
        assert_eq!(CallContext::default().remaining(), None);
        let second = Duration::from_secs(1);
        let deadline = Some(Instant::now() + second);
        let context = CallContext::default().with_deadline(deadline);
        assert_eq!(context.remaining(), Some(second));
        tokio::time::advance(2 * second).await;
        assert_eq!(context.remaining(), Some(Duration::ZERO));
    }
}
