//! The Executor as a user builds it: a name and handlers bound to endpoints.

use std::{fmt, future::Future, sync::Arc};

use flowgate_proto::{DEFAULT_ENDPOINT, docarray::DocumentProto};
use tokio_util::sync::CancellationToken;

use crate::{
    Batch, Batching, Error, Reply, Request, Service,
    batch::Batcher,
    endpoint::{Endpoint, Table, erased},
    info,
};

/// Where an Executor finds the `JINA_*` variables that `_status` shows.
pub(crate) type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// An Executor: handlers bound to endpoints.
pub struct Executor {
    pub(crate) name: String,
    pub(crate) metas_name: String,
    pub(crate) table: Table,
    /// Unset, there are no variables, or the process's where the Executor has a process of its own.
    pub(crate) environment: Option<Environment>,
    /// Set when the Executor stops: batches no longer wait for more.
    pub(crate) closing: CancellationToken,
}

/// Under which names an Executor serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The deployment's name, which the Executor writes into routes: `exec0`.
    pub deployment: String,
    /// The name of this one process of it, which stands in `__results__`: `exec0/rep-0`.
    pub runtime: String,
}

impl Identity {
    /// The first (or only) replica of `deployment`.
    pub fn of(deployment: impl Into<String>) -> Self {
        let deployment = deployment.into();
        let runtime = format!("{deployment}/rep-0");
        Self {
            deployment,
            runtime,
        }
    }
}

impl Executor {
    /// An Executor that binds nothing yet; `name` is what Jina calls its class name.
    pub fn new(name: impl Into<String>) -> Self {
        info::note_start();
        let name = name.into();
        Self {
            metas_name: name.clone(),
            name,
            table: Table::default(),
            environment: None,
            closing: CancellationToken::new(),
        }
    }

    /// The class name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Binds `handler` to `endpoint`, `/index` for example.
    #[must_use]
    pub fn on<F, Fut>(mut self, endpoint: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply, Error>> + Send + 'static,
    {
        let endpoint = endpoint.into();
        self.table.bind(endpoint, Endpoint::Plain(erased(handler)));
        self
    }

    /// Binds `handler` to every endpoint that is not bound by name.
    #[must_use]
    pub fn on_default<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply, Error>> + Send + 'static,
    {
        self.on(DEFAULT_ENDPOINT, handler)
    }

    /// Binds `handler` to `endpoint` and calls it with the documents of several requests at once.
    /// It has to give back as many documents as it got, each in its place.
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
        let batcher = Batcher::new(erased(handler), batching, self.closing.clone());
        self.table.bind(endpoint.into(), Endpoint::Batched(batcher));
        self
    }

    /// The name under which parameters are meant for this Executor (`{"name": {"k": 5}}`); the class
    /// name unless set.
    #[must_use]
    pub fn metas_name(mut self, name: impl Into<String>) -> Self {
        self.metas_name = name.into();
        self
    }

    /// Where `_status` takes the `JINA_*` variables from. Unless set, [`serve`](crate::serve) takes the
    /// process's environment; an Executor in another's process has none.
    #[must_use]
    pub fn environment(
        mut self,
        variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.environment = Some(Arc::new(variable));
        self
    }

    /// The Executor ready to answer requests.
    #[must_use]
    pub fn into_service(self, identity: Identity) -> Service {
        Service::new(self, identity)
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("name", &self.name)
            .field("endpoints", &self.table.names())
            .finish_non_exhaustive()
    }
}
