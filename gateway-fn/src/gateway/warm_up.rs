//! What the first request would otherwise wait for, done at start: clients, credentials, connections, cold starts.

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

/// Lambda allows INIT ten seconds in all (AWS Lambda, runtime environment), and what is not done by then may as well be
/// done by the first request.
const LONGEST: Duration = Duration::from_secs(7);

impl Gateway {
    /// Makes ready at start what the first request would otherwise wait for; for a Flow without `lambda://` Executors
    /// that is nothing. What fails is logged, and met again by the first request.
    pub async fn warm_up(&self) {
        let deployments = self.0.deployments.iter().filter_map(as_lambda);
        let functions: Vec<_> = deployments.flat_map(LambdaDeployment::apart).collect();
        let warmed = async {
            match self.0.warm_up {
                WarmUp::None => {}
                WarmUp::Connect => connect(&functions).await,
                WarmUp::DryRun => dry_run(&functions).await,
            }
        };
        if tokio::time::timeout(LONGEST, warmed).await.is_err() {
            tracing::warn!("the warm-up was given up after {LONGEST:?}");
        }
    }
}

/// A connection to each region; the functions of one share it.
async fn connect(functions: &[LambdaDeployment]) {
    let mut regions = HashSet::new();
    // All have one client.
    if !functions.first().is_some_and(LambdaDeployment::is_of_aws) {
        return;
    }
    let first = functions
        .iter()
        .filter(|function| regions.insert(function.region()));
    let connected = first.map(LambdaDeployment::connect);
    join_all(connected).await.into_iter().for_each(log);
}

/// Every function, and each replica is one.
async fn dry_run(functions: &[LambdaDeployment]) {
    let context = Context {
        deadline: Some(Instant::now() + LONGEST),
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

fn log<E: Error + 'static>(outcome: Result<(), E>) {
    if let Err(error) = outcome {
        tracing::warn!(error = %with_causes(&error), "the warm-up failed");
    }
}
