//! Prepares at start what the first request would otherwise wait for: AWS clients, credentials, connections and cold
//! starts.

use std::{collections::HashSet, error::Error, time::Duration};

use flowgate_config::WarmUp;
use flowgate_proto::with_causes;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Gateway;
use crate::{
    context::Context,
    outbound::{Deployment, LambdaDeployment},
};

/// The time for cold starts. Lambda allows ten seconds for INIT (AWS Lambda, runtime environment); what is not ready by then
/// is left to the first request.
const MAX_DRY_RUN_TIME: Duration = Duration::from_secs(7);

/// The time for connections, which take some milliseconds: a first request that finds none is better off than one that waits
/// for an endpoint that does not answer.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(1);

impl Gateway {
    /// Warms up the `lambda://` Executors of the Flow; other Executors need nothing. A failure is logged only: the first
    /// request tries again.
    pub async fn warm_up(&self, kind: WarmUp) {
        let deployments = self.0.deployments.iter().filter_map(as_lambda);
        let functions: Vec<_> = deployments
            .flat_map(LambdaDeployment::per_function)
            .collect();
        match kind {
            WarmUp::None => {}
            WarmUp::Connect => with_time_limit(MAX_CONNECT_TIME, connect(&functions)).await,
            WarmUp::DryRun => with_time_limit(MAX_DRY_RUN_TIME, dry_run(&functions)).await,
        }
    }
}

async fn with_time_limit(timeout: Duration, warm_up: impl Future<Output = ()>) {
    if tokio::time::timeout(timeout, warm_up).await.is_err() {
        tracing::warn!(?timeout, "warm-up timed out");
    }
}

/// Opens a connection to each region; its functions share the connection.
async fn connect(functions: &[LambdaDeployment]) {
    // All functions have the same client. An emulator might run the function for a mere check.
    if !functions.first().is_some_and(LambdaDeployment::is_on_aws) {
        return;
    }
    let mut regions = HashSet::new();
    let first_of_region = functions
        .iter()
        .filter(|function| regions.insert(function.region()));
    let connections = first_of_region.map(LambdaDeployment::connect);
    join_all(connections).await.into_iter().for_each(log);
}

/// Invokes every function; each replica is a function.
async fn dry_run(functions: &[LambdaDeployment]) {
    let context = Context {
        deadline: Some(Instant::now() + MAX_DRY_RUN_TIME),
        ..Context::default()
    };
    let runs = functions.iter().map(|function| function.dry_run(&context));
    join_all(runs).await.into_iter().for_each(log);
}

const fn as_lambda(deployment: &Deployment) -> Option<&LambdaDeployment> {
    match deployment {
        Deployment::Lambda(lambda) => Some(lambda),
        Deployment::Grpc(_) | Deployment::InProcess(_) => None,
    }
}

fn log<E: Error + 'static>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::warn!(error = %with_causes(&error), "warm-up failed");
    }
}
