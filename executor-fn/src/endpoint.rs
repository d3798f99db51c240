//! The table of endpoints: the name a request asks for, to the handler bound for it. The lookup is
//! total: exact name, else the default endpoint, else the Executor is skipped.

use std::{collections::HashMap, future::Future, panic::AssertUnwindSafe, sync::Arc};

use flowgate_proto::{DEFAULT_ENDPOINT, DRY_RUN_ENDPOINT};
use futures_util::{FutureExt as _, future::BoxFuture};

use crate::{Error, Reply, Request, batch::Batcher};

/// A handler with its types taken off.
pub(crate) type Handler<In, Out> =
    Arc<dyn Fn(In) -> BoxFuture<'static, Result<Out, Error>> + Send + Sync>;

/// What is bound to an endpoint.
pub(crate) enum Endpoint {
    /// Called once per request.
    Plain(Handler<Request, Reply>),
    /// Called once per batch of requests.
    Batched(Batcher),
}

/// Where a request goes.
pub(crate) enum Target<'a> {
    /// The dry run, which every Executor answers with the documents it got.
    DryRun,
    /// A handler.
    Bound(&'a Endpoint),
    /// Nowhere: the request goes back as it is.
    Skip,
}

/// All endpoints of an Executor.
#[derive(Default)]
pub(crate) struct Table {
    names: Vec<String>,
    bound: HashMap<String, Endpoint>,
}

impl Table {
    /// Binds `name`, in place of what was bound to it. The dry run cannot be bound.
    pub(crate) fn bind(&mut self, name: String, endpoint: Endpoint) {
        if name == DRY_RUN_ENDPOINT {
            tracing::warn!("{DRY_RUN_ENDPOINT} is reserved: its handler is never called");
            return;
        }
        if self.bound.insert(name.clone(), endpoint).is_none() {
            self.names.push(name);
        }
    }

    pub(crate) fn find(&self, exec_endpoint: &str) -> Target<'_> {
        if exec_endpoint == DRY_RUN_ENDPOINT {
            return Target::DryRun;
        }
        let exact = self.bound.get(exec_endpoint);
        exact
            .or_else(|| self.bound.get(DEFAULT_ENDPOINT))
            .map_or(Target::Skip, Target::Bound)
    }

    /// The names in the order of their binding, the dry run last (recording
    /// `grpc/26-executor_direct_endpoints`).
    pub(crate) fn names(&self) -> Vec<String> {
        let dry_run = std::iter::once(DRY_RUN_ENDPOINT.to_owned());
        self.names.iter().cloned().chain(dry_run).collect()
    }
}

/// Takes the types off `handler`.
pub(crate) fn erased<In, Out, F, Fut>(handler: F) -> Handler<In, Out>
where
    F: Fn(In) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Out, Error>> + Send + 'static,
{
    Arc::new(move |input| handler(input).boxed())
}

/// Calls `handler`; its panic is this call's error.
pub(crate) async fn call<In, Out>(handler: &Handler<In, Out>, input: In) -> Result<Out, Error> {
    let called = AssertUnwindSafe(async move { handler(input).await });
    called
        .catch_unwind()
        .await
        .unwrap_or_else(|payload| Err(Error::panicked(payload.as_ref())))
}

/// Hands `state` to every call of a method, so that it can be bound to an endpoint:
/// `.on("/search", with_state(&index, Index::search))`.
pub fn with_state<S, In, Fut>(
    state: &Arc<S>,
    method: impl Fn(Arc<S>, In) -> Fut + Send + Sync + 'static,
) -> impl Fn(In) -> Fut + Send + Sync + 'static
where
    S: Send + Sync + 'static,
{
    let state = Arc::clone(state);
    move |input| method(Arc::clone(&state), input)
}

/// Runs a plain function on a thread that may block, so that long work keeps nobody waiting:
/// `.on("/encode", blocking(|request: Request| ...))`.
pub fn blocking<In, Out>(
    work: impl Fn(In) -> Result<Out, Error> + Send + Sync + 'static,
) -> impl Fn(In) -> BoxFuture<'static, Result<Out, Error>> + Send + Sync + 'static
where
    In: Send + 'static,
    Out: Send + 'static,
{
    let work = Arc::new(work);
    move |input| {
        let work = Arc::clone(&work);
        async move {
            match tokio::task::spawn_blocking(move || work(input)).await {
                Ok(done) => done,
                Err(ended) => match ended.try_into_panic() {
                    Ok(payload) => Err(Error::panicked(payload.as_ref())),
                    Err(cancelled) => Err(cancelled.into()),
                },
            }
        }
        .boxed()
    }
}
