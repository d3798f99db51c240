//! Checks a Lambda function by invoking it: for its status, or with an empty request through its Flow.

use std::{num::NonZeroUsize, sync::Arc};

use flowgate_config::{InvokeConfig, Limits};
use flowgate_proto::{Compression, with_causes};
use flowgate_tls::TlsRoots;
use gateway::context::Context;
use gateway::error::CallError;
use gateway::outbound::{
    LambdaDeployment,
    lambda::{LambdaClient, LambdaOptions},
};

use super::PingError;

/// A Lambda function with an Executor or a Gateway.
pub(super) struct Function(LambdaDeployment);

impl Function {
    /// Prepares calls of a function by its name or ARN.
    pub(super) fn new(name: &str) -> Self {
        gateway::aws::set_roots(TlsRoots::System);
        let invoke = InvokeConfig::default();
        let options = LambdaOptions {
            // `--timeout` and `--attempts` bound the check.
            timeout: None,
            attempts: NonZeroUsize::new(1),
            compression: Compression::None,
            max_message_bytes: Limits::default().max_message_bytes,
            max_parts: 1,
            parallel_parts: 1,
            max_retry_pause: invoke.max_retry_pause,
            show_addresses: true,
            traffic: Arc::default(),
            client: Arc::new(LambdaClient::new(&invoke)),
        };
        Self(LambdaDeployment::new("function", [name], &options))
    }

    /// Asks the function for its status.
    pub(super) async fn status(&self) -> Result<(), PingError> {
        let status = Box::pin(self.0.status()).await;
        status.map(drop).map_err(|error| call_error(&error))
    }

    /// Sends a dry run. A Gateway passes it through its Flow; an Executor only answers it.
    pub(super) async fn dry_run(&self) -> Result<(), PingError> {
        let response = Box::pin(self.0.dry_run(&Context::default())).await;
        response.map_err(|error| call_error(&error))
    }
}

fn call_error(error: &CallError) -> PingError {
    PingError::Connection(with_causes(error))
}
