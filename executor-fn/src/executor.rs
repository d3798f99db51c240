//! The Executor as a user builds it: a name, and handlers bound to endpoints.

use std::{fmt, future::Future, sync::Arc};

use flowgate_proto::{DEFAULT_ENDPOINT, docarray::DocumentProto};
use tokio_util::sync::CancellationToken;

use crate::{
    Batch, Batching, Error, Reply, Request,
    batch::Batcher,
    endpoint::{Endpoint, EndpointTable},
    handler::into_handler,
    info,
};

/// Looks up the `JINA_*` variables that `_status` shows.
pub(crate) type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// An Executor: handlers bound to endpoints.
pub struct Executor {
    pub(crate) name: String,
    pub(crate) metas_name: String,
    pub(crate) endpoints: EndpointTable,
    /// `None` means no variables; [`serve`](crate::serve) then fills in the process's variables.
    pub(crate) environment: Option<Environment>,
    /// Once cancelled, batches no longer wait for more requests.
    pub(crate) flush: CancellationToken,
    /// Whether handlers run work that outlives their answers.
    pub(crate) has_background_work: bool,
}

/// The names under which an Executor serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name of the deployment, which the Executor writes into routes: `exec0`.
    pub deployment: String,
    /// The name of this process of the deployment, the key of its results in `__results__`: `exec0/rep-0`.
    pub runtime: String,
}

impl Identity {
    /// The names of the first (or only) replica of `deployment`.
    pub fn first_replica(deployment: impl Into<String>) -> Self {
        let deployment = deployment.into();
        let runtime = format!("{deployment}/rep-0");
        Self {
            deployment,
            runtime,
        }
    }
}

impl Executor {
    /// Creates an Executor without endpoints. `name` is what Jina calls its class name.
    pub fn new(name: impl Into<String>) -> Self {
        info::record_process_start();
        let name = name.into();
        Self {
            metas_name: name.clone(),
            name,
            endpoints: EndpointTable::default(),
            environment: None,
            flush: CancellationToken::new(),
            has_background_work: false,
        }
    }

    /// The class name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Binds `handler` to `endpoint`, `/index` for example. A second binding replaces the first.
    #[must_use]
    pub fn on<F, Fut>(mut self, endpoint: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply, Error>> + Send + 'static,
    {
        let handler = Endpoint::Plain(into_handler(handler));
        self.endpoints.bind(endpoint.into(), handler);
        self
    }

    /// Binds `handler` to every endpoint that has no handler of its own.
    #[must_use]
    pub fn on_default<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply, Error>> + Send + 'static,
    {
        self.on(DEFAULT_ENDPOINT, handler)
    }

    /// Binds `handler` to `endpoint` and calls it with the documents of several requests at once. It must
    /// return as many documents as it gets, in the same order.
    ///
    /// ```
    /// # use executor_fn::{Batch, Batching, Executor};
    /// let executor = Executor::new("Encoder").batched("/encode", Batching::default(), |batch: Batch| async {
    ///     Ok(batch.documents)
    /// });
    /// ```
    #[must_use]
    pub fn batched<F, Fut>(
        mut self,
        endpoint: impl Into<String>,
        batching: Batching,
        handler: F,
    ) -> Self
    where
        F: Fn(Batch) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<DocumentProto>, Error>> + Send + 'static,
    {
        let batcher = Batcher::new(into_handler(handler), batching, self.flush.clone());
        let handler = Endpoint::Batched(batcher);
        self.endpoints.bind(endpoint.into(), handler);
        self
    }

    /// Sets the name under which a request addresses parameters to this Executor
    /// (`{"name": {"k": 5}}`). The default is the class name.
    #[must_use]
    pub fn metas_name(mut self, name: impl Into<String>) -> Self {
        self.metas_name = name.into();
        self
    }

    /// Announces that handlers [`spawn`](crate::CallContext::spawn) work that outlives their answers. A Lambda function then
    /// registers an internal extension: the caller gets its answer at once, and Lambda freezes the process when the work
    /// is done. Without the announcement the work is done before the freeze too, but the caller may have to wait for it.
    ///
    /// ```
    /// # use executor_fn::{Executor, Reply, Request};
    /// let executor = Executor::new("Indexer").background_work().on("/index", |request: Request| async move {
    ///     let documents = request.documents().to_vec();
    ///     request.context().spawn(async move {
    ///         // Write `documents` to the index here.
    ///         drop(documents);
    ///     });
    ///     Ok(Reply::unchanged())
    /// });
    /// ```
    #[must_use]
    pub const fn background_work(mut self) -> Self {
        self.has_background_work = true;
        self
    }

    /// Sets where `_status` looks up the `JINA_*` variables. By default [`serve`](crate::serve) takes the
    /// process's environment, and an Executor inside a Gateway shows none.
    #[must_use]
    pub fn environment(
        mut self,
        variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.environment = Some(Arc::new(variable));
        self
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("name", &self.name)
            .field("endpoints", &self.endpoints.names())
            .finish_non_exhaustive()
    }
}
