//! `flowgate ping`: is an Executor, a Gateway or a whole Flow ready? By the arguments of `jina ping`.

mod function;

mod tls;

use std::{error::Error, time::Duration};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use flowgate_config::{Address, Protocol};
use flowgate_proto::with_causes;
use rustls::RootCertStore;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use self::function::Function;
use flowgate_auth::fetch::{self, FetchError};
use gateway::host::program::{Exit, say};

/// Arguments of `flowgate ping`.
#[derive(Args, Debug)]
pub(super) struct PingArgs {
    /// What to ask: one Executor, one Gateway, or the Gateway and every Executor behind it
    target: Target,
    /// Where it is: HOST:PORT for gRPC, http://HOST:PORT or ws://HOST:PORT else; grpcs://, https:// and wss:// for TLS;
    /// lambda://NAME or an ARN for a function
    host: String,
    /// Milliseconds that one check may take; -1 waits for ever
    #[arg(long, default_value_t = 3000, allow_hyphen_values = true)]
    timeout: i64,
    /// How many checks to make, a second apart
    #[arg(long, default_value_t = 1)]
    attempts: u32,
    /// How many of them must succeed
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

/// A status answer is a few hundred bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Why a check says no.
#[derive(Debug, thiserror::Error)]
enum NotReady {
    #[error(
        "{0} is no address: expected HOST:PORT, or grpc://, http:// or ws:// before it (grpcs://, https:// or wss:// for TLS), or lambda://NAME"
    )]
    Address(String),
    #[error("the trusted roots cannot be used: {0}")]
    Roots(String),
    #[error("no answer in time")]
    Timeout,
    #[error("no connection: {0}")]
    Connection(String),
    #[error("it answers {0}")]
    Answer(String),
}

pub(super) async fn run(args: &PingArgs) -> Exit {
    let mut successes = 0;
    for attempt in 1..=args.attempts {
        match args.check().await {
            Ok(()) => successes += 1,
            Err(error) => {
                say(&format!(
                    "{} is not ready (attempt {attempt} of {}): {error}",
                    args.host, args.attempts
                ));
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
    async fn check(&self) -> Result<(), NotReady> {
        match Address::parse(&self.host, None, false) {
            Ok(Address::Lambda { function }) => {
                let function = Function::of(&function);
                self.in_time(async {
                    match self.target {
                        Target::Executor | Target::Gateway => function.status().await,
                        Target::Flow => function.dry_run().await,
                    }
                })
                .await
            }
            Ok(Address::Grpc { .. } | Address::InProcess { .. }) | Err(_) => {
                self.in_time(self.check_peer()).await
            }
        }
    }

    async fn check_peer(&self) -> Result<(), NotReady> {
        let peer = Peer::parse(&self.host)?;
        match (self.target, peer.protocol) {
            (Target::Executor, _) | (Target::Gateway, Protocol::Grpc) => peer.health().await,
            (Target::Gateway, Protocol::Http | Protocol::WebSocket) => {
                peer.fetch("/").await.map(drop)
            }
            (Target::Flow, Protocol::Grpc) => peer.grpc_dry_run().await,
            (Target::Flow, Protocol::Http | Protocol::WebSocket) => peer.http_dry_run().await,
        }
    }

    async fn in_time(
        &self,
        check: impl Future<Output = Result<(), NotReady>>,
    ) -> Result<(), NotReady> {
        match u64::try_from(self.timeout) {
            Ok(millis) => tokio::time::timeout(Duration::from_millis(millis), check)
                .await
                .unwrap_or(Err(NotReady::Timeout)),
            Err(_) => check.await,
        }
    }
}

/// Whom to ask, and how.
#[derive(Debug, PartialEq, Eq)]
struct Peer {
    protocol: Protocol,
    tls: bool,
    authority: String,
}

impl Peer {
    fn parse(address: &str) -> Result<Self, NotReady> {
        let (scheme, authority) = address.split_once("://").unwrap_or(("grpc", address));
        let (protocol, tls) = match scheme {
            "grpc" => (Protocol::Grpc, false),
            "grpcs" => (Protocol::Grpc, true),
            "http" => (Protocol::Http, false),
            "https" => (Protocol::Http, true),
            "ws" | "websocket" => (Protocol::WebSocket, false),
            "wss" => (Protocol::WebSocket, true),
            _ => return Err(NotReady::Address(address.to_owned())),
        };
        let authority = authority.trim_end_matches('/');
        match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(Self {
                protocol,
                tls,
                authority: authority.to_owned(),
            }),
            _ => Err(NotReady::Address(address.to_owned())),
        }
    }

    async fn channel(&self) -> Result<Channel, NotReady> {
        let scheme = if self.tls { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.authority))
            .map_err(|_| NotReady::Address(self.authority.clone()))?;
        if self.tls {
            endpoint = endpoint.tls_config(tls::of_grpc()?).map_err(lost)?;
        }
        endpoint.connect().await.map_err(lost)
    }

    async fn health(&self) -> Result<(), NotReady> {
        let mut client = HealthClient::new(self.channel().await?);
        let answer = client
            .check(HealthCheckRequest::default())
            .await
            .map_err(|status| refused(&status))?;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            status => Err(NotReady::Answer(status.as_str_name().to_owned())),
        }
    }

    async fn grpc_dry_run(&self) -> Result<(), NotReady> {
        use flowgate_proto::jina::jina_gateway_dry_run_rpc_client::JinaGatewayDryRunRpcClient;
        let mut client = JinaGatewayDryRunRpcClient::new(self.channel().await?);
        let status = client
            .dry_run(())
            .await
            .map_err(|status| refused(&status))?
            .into_inner();
        if status.code == 0 {
            Ok(())
        } else {
            Err(NotReady::Answer(status.description))
        }
    }

    async fn http_dry_run(&self) -> Result<(), NotReady> {
        let body = self.fetch("/dry_run").await?;
        let status: serde_json::Value =
            serde_json::from_slice(&body).map_err(|_| NotReady::Answer("no status".to_owned()))?;
        match status.get("code").and_then(serde_json::Value::as_i64) {
            Some(0) => Ok(()),
            _ => Err(NotReady::Answer(
                status["description"]
                    .as_str()
                    .unwrap_or("no status")
                    .to_owned(),
            )),
        }
    }

    /// A GET over HTTP, which a Gateway's WebSocket port answers too.
    async fn fetch(&self, path: &str) -> Result<Bytes, NotReady> {
        let scheme = if self.tls { "https" } else { "http" };
        let url = format!("{scheme}://{}{path}", self.authority).parse();
        let url = url.map_err(|_| NotReady::Address(self.authority.clone()))?;
        let roots = match self.tls {
            true => tls::roots()?,
            false => RootCertStore::empty(),
        };
        let answer = fetch::get(&url, || roots, MAX_ANSWER).await;
        answer.map_err(|error| match error {
            FetchError::Status(status) => NotReady::Answer(status.to_string()),
            FetchError::NoRoots => NotReady::Roots("there are none".to_owned()),
            error => lost(error),
        })
    }
}

fn lost(error: impl Error) -> NotReady {
    NotReady::Connection(with_causes(&error))
}

fn refused(status: &tonic::Status) -> NotReady {
    NotReady::Answer(format!("{:?} {}", status.code(), status.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_jina_reads_them() {
        for (address, protocol, tls) in [
            ("127.0.0.1:8081", Protocol::Grpc, false),
            ("http://127.0.0.1:8081", Protocol::Http, false),
            ("ws://localhost:1/", Protocol::WebSocket, false),
            ("grpcs://h:443", Protocol::Grpc, true),
        ] {
            let peer = Peer::parse(address).expect(address);
            assert_eq!((peer.protocol, peer.tls), (protocol, tls), "{address}");
        }
        for address in ["", "localhost", "ftp://h:1", ":80", "h:port"] {
            assert!(Peer::parse(address).is_err(), "{address}");
        }
    }
}
