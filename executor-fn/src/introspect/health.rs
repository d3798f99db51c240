//! The service `grpc.health.v1` as grpcio answers it for Jina: SERVING from the start for the advertised names and the
//! empty name, and NOT_SERVING from the moment at which the server begins to stop.

use std::{future::ready, pin::Pin, sync::Arc};

use futures_util::{FutureExt as _, Stream, StreamExt as _, future, stream};
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server,
};

/// Turns the health of a server to NOT_SERVING, permanently. Clones share it.
#[derive(Clone, Debug)]
pub struct HealthSwitch(Arc<watch::Sender<bool>>);

impl Default for HealthSwitch {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }
}

impl HealthSwitch {
    /// Answers NOT_SERVING for every name from now on. `Watch` streams send that status and end, so that they do not
    /// delay the shutdown.
    pub fn set_not_serving(&self) {
        self.0.send_replace(false);
    }

    /// Whether the health is still SERVING.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        *self.0.borrow()
    }
}

/// The implementation of `grpc.health.v1.Health`.
pub(super) struct Health {
    advertised: &'static [&'static str],
    reflection: &'static str,
    switch: HealthSwitch,
}

impl Health {
    pub(super) fn new(
        advertised: &'static [&'static str],
        reflection: &'static str,
        switch: &HealthSwitch,
    ) -> Self {
        Self {
            advertised,
            reflection,
            switch: switch.clone(),
        }
    }

    fn has_service(&self, name: &str) -> bool {
        name.is_empty() || name == self.reflection || self.advertised.contains(&name)
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.has_service(&request.get_ref().service) {
            return Err(Status::new(Code::NotFound, ""));
        }
        let status = serving_status(self.switch.is_serving());
        Ok(Response::new(response(status)))
    }

    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.has_service(&request.get_ref().service);
        let mut switch = self.switch.0.subscribe();
        let is_serving = *switch.borrow_and_update();
        let current = if known {
            serving_status(is_serving)
        } else {
            ServingStatus::ServiceUnknown
        };
        let change = async move {
            // An error means that the server, and the switch with it, is gone: the stream ends too.
            drop(switch.wait_for(|is_serving| !is_serving).await);
            (known && is_serving).then_some(ServingStatus::NotServing)
        };
        let changes = change.into_stream().filter_map(ready);
        let statuses = stream::once(future::ready(current)).chain(changes);
        Ok(Response::new(
            statuses.map(|status| Ok(response(status))).boxed(),
        ))
    }
}

const fn serving_status(is_serving: bool) -> ServingStatus {
    if is_serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
