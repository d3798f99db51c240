//! The table of an Executor's endpoints. A lookup takes the handler of that exact name, else the default
//! handler; without either the request is skipped.

use std::collections::HashMap;

use flowgate_proto::{DEFAULT_ENDPOINT, DRY_RUN_ENDPOINT};

use crate::{Reply, Request, batch::Batcher, handler::Handler};

/// What is bound to an endpoint.
pub(crate) enum Endpoint {
    /// A handler that is called once per request.
    Plain(Handler<Request, Reply>),
    /// A handler that is called once per batch of requests.
    Batched(Batcher),
}

/// Who answers a request.
pub(crate) enum Target<'a> {
    /// The dry run, which every Executor answers with the documents of the request.
    DryRun,
    /// A bound endpoint.
    Bound(&'a Endpoint),
    /// No handler: the request is returned unchanged.
    Skip,
}

/// All endpoints of an Executor.
#[derive(Default)]
pub(crate) struct EndpointTable {
    names: Vec<String>,
    endpoints: HashMap<String, Endpoint>,
}

impl EndpointTable {
    /// Binds `name`, replacing an earlier binding. The dry run's name is reserved.
    pub(crate) fn bind(&mut self, name: String, endpoint: Endpoint) {
        if name == DRY_RUN_ENDPOINT {
            tracing::warn!(
                endpoint = DRY_RUN_ENDPOINT,
                "the endpoint is reserved: its handler is never called"
            );
            return;
        }
        if self.endpoints.insert(name.clone(), endpoint).is_none() {
            self.names.push(name);
        }
    }

    pub(crate) fn find(&self, exec_endpoint: &str) -> Target<'_> {
        if exec_endpoint == DRY_RUN_ENDPOINT {
            return Target::DryRun;
        }
        let exact = self.endpoints.get(exec_endpoint);
        exact
            .or_else(|| self.endpoints.get(DEFAULT_ENDPOINT))
            .map_or(Target::Skip, Target::Bound)
    }

    /// The names in the order of their binding, the dry run last (recording
    /// `grpc/26-executor_direct_endpoints`).
    pub(crate) fn names(&self) -> Vec<String> {
        let dry_run = std::iter::once(DRY_RUN_ENDPOINT.to_owned());
        self.names.iter().cloned().chain(dry_run).collect()
    }
}
