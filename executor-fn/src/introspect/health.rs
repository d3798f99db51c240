//! `grpc.health.v1` as grpcio answers it for Jina: serving from the first moment, for the advertised
//! names and the empty one; not serving, for good, from the moment the server stops.

use std::{future::ready, pin::Pin, sync::Arc};

use futures_util::{FutureExt as _, Stream, StreamExt as _, future, stream};
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server,
};

/// Turns health off, which cannot be undone; clones turn the same one off.
#[derive(Clone, Debug)]
pub struct HealthSwitch(Arc<watch::Sender<bool>>);

impl Default for HealthSwitch {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }
}

impl HealthSwitch {
    /// From now on every name is NOT_SERVING. Who watches is told, and the watching ends, so that it
    /// holds up no shutdown.
    pub fn turn_off(&self) {
        self.0.send_replace(false);
    }

    /// Whether it is still on.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        *self.0.borrow()
    }
}

/// The service.
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

    fn knows(&self, name: &str) -> bool {
        name.is_empty() || name == self.reflection || self.advertised.contains(&name)
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::new(Code::NotFound, ""));
        }
        let status = serving(self.switch.is_serving());
        Ok(Response::new(answer(status)))
    }

    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.knows(&request.get_ref().service);
        let mut switch = self.switch.0.subscribe();
        let on = *switch.borrow_and_update();
        let now = if known {
            serving(on)
        } else {
            ServingStatus::ServiceUnknown
        };
        let change = async move {
            // An error is the switch gone with its server: the watching ends too.
            drop(switch.wait_for(|on| !on).await);
            (known && on).then_some(ServingStatus::NotServing)
        };
        let changes = change.into_stream().filter_map(ready);
        let statuses = stream::once(future::ready(now)).chain(changes);
        Ok(Response::new(
            statuses.map(|status| Ok(answer(status))).boxed(),
        ))
    }
}

const fn serving(on: bool) -> ServingStatus {
    if on {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
