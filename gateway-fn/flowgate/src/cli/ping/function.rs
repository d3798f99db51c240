//! A ping of a Lambda function -> an invocation that asks for its status, or an empty request through its Flow.

use std::{num::NonZeroUsize, sync::Arc};

use flowgate_config::{InvokeConfig, Limits};
use flowgate_proto::{Compression, with_causes};
use gateway::context::Context;
use gateway::outbound::{
    CallError, LambdaDeployment,
    lambda::{LambdaClient, LambdaOptions},
};

use super::NotReady;

/// What is behind a name or an ARN.
pub(super) struct Function(LambdaDeployment);

impl Function {
    pub(super) fn of(name: &str) -> Self {
        let invoke = InvokeConfig::default();
        let options = LambdaOptions {
            // A check has its own time, and `--attempts` are the tries.
            timeout: None,
            tries: NonZeroUsize::new(1),
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

    /// An Executor, or a Gateway, says what it is.
    pub(super) async fn status(&self) -> Result<(), NotReady> {
        Box::pin(self.0.status())
            .await
            .map(drop)
            .map_err(|error| refused(&error))
    }

    /// A Gateway sends it through its Flow, an Executor does nothing with it.
    pub(super) async fn dry_run(&self) -> Result<(), NotReady> {
        let sent = Box::pin(self.0.dry_run(&Context::default())).await;
        sent.map_err(|error| refused(&error))
    }
}

fn refused(error: &CallError) -> NotReady {
    NotReady::Connection(with_causes(error))
}
