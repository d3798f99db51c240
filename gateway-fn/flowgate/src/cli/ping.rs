//! `flowgate ping`: checks whether an Executor, a Gateway or a whole Flow is ready. Takes the arguments of `jina ping`.

mod function;

mod server;

use std::time::Duration;

use clap::{Args, ValueEnum};
use flowgate_config::{Address, Protocol};

use self::{function::Function, server::Server};
use gateway::host::program::{Exit, print_error};

/// Arguments of `flowgate ping`.
#[derive(Args, Debug)]
pub(super) struct PingArgs {
    /// What to check: an Executor, a Gateway, or a Flow, which is a Gateway and every Executor behind it
    target: Target,
    /// The address: HOST:PORT for gRPC, http://HOST:PORT or ws://HOST:PORT otherwise; grpcs://, https:// and wss:// for
    /// TLS; lambda://NAME or an ARN for a Lambda function. Of several addresses, one that is ready is enough
    #[arg(required = true)]
    host: Vec<String>,
    /// Timeout of one check in milliseconds; -1 for none
    #[arg(long, default_value_t = 3000, allow_hyphen_values = true)]
    timeout: i64,
    /// Number of checks, made one second apart
    #[arg(long, default_value_t = 1)]
    attempts: u32,
    /// Number of checks that must succeed
    #[arg(long, default_value_t = 1)]
    min_successful_attempts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    Flow,
    Executor,
    Gateway,
}

/// The pause between two checks, as in `jina ping`.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
enum PingError {
    #[error(
        "invalid address `{0}`: expected HOST:PORT, with grpc://, http:// or ws:// before it (grpcs://, https:// or wss:// for TLS) or without, or lambda://NAME"
    )]
    Address(String),
    #[error("cannot load the trusted roots: {0}")]
    Roots(String),
    #[error("no answer within {0} ms (`--timeout`)")]
    Timeout(u64),
    #[error("cannot connect: {0}")]
    Connection(String),
    #[error("answered {0}")]
    Answer(String),
}

pub(super) async fn run(args: &PingArgs) -> Exit {
    let mut successes = 0;
    for attempt in 1..=args.attempts {
        match args.check_any().await {
            Ok(()) => successes += 1,
            Err(errors) => {
                for (host, error) in errors {
                    let attempts = args.attempts;
                    print_error(&format!(
                        "{host} is not ready (attempt {attempt} of {attempts}): {error}"
                    ));
                }
            }
        }
        if attempt < args.attempts {
            tokio::time::sleep(PAUSE).await;
        }
    }
    if successes >= args.min_successful_attempts {
        Exit::Clean
    } else {
        Exit::Failed
    }
}

impl PingArgs {
    /// Checks the addresses one after the other, until one is ready.
    async fn check_any(&self) -> Result<(), Vec<(&str, PingError)>> {
        let mut errors = Vec::new();
        for host in &self.host {
            match self.check(host).await {
                Ok(()) => return Ok(()),
                Err(error) => errors.push((host.as_str(), error)),
            }
        }
        Err(errors)
    }

    async fn check(&self, host: &str) -> Result<(), PingError> {
        match Address::parse(host, None, false) {
            Ok(Address::Lambda { function }) => {
                let function = Function::new(&function);
                self.with_timeout(async {
                    match self.target {
                        Target::Executor | Target::Gateway => function.status().await,
                        Target::Flow => function.dry_run().await,
                    }
                })
                .await
            }
            Ok(Address::Grpc { .. } | Address::InProcess { .. }) | Err(_) => {
                self.with_timeout(self.check_server(host)).await
            }
        }
    }

    async fn check_server(&self, host: &str) -> Result<(), PingError> {
        let server = Server::parse(host)?;
        match (self.target, server.protocol) {
            (Target::Executor, _) | (Target::Gateway, Protocol::Grpc) => server.grpc_health().await,
            (Target::Gateway, Protocol::Http | Protocol::WebSocket) => server.http_health().await,
            (Target::Flow, Protocol::Grpc) => server.grpc_dry_run().await,
            (Target::Flow, Protocol::Http | Protocol::WebSocket) => server.http_dry_run().await,
        }
    }

    async fn with_timeout(
        &self,
        check: impl Future<Output = Result<(), PingError>>,
    ) -> Result<(), PingError> {
        match u64::try_from(self.timeout) {
            Ok(millis) => tokio::time::timeout(Duration::from_millis(millis), check)
                .await
                .unwrap_or(Err(PingError::Timeout(millis))),
            Err(_) => check.await,
        }
    }
}
