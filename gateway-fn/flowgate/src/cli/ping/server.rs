//! Checks a server over gRPC or HTTP. With TLS it trusts the certificates in `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`, or the
//! system's if that is not set.

use std::error::Error;

use bytes::Bytes;
use flowgate_auth::fetch::{self, FetchError};
use flowgate_config::Protocol;
use flowgate_proto::{
    jina::jina_gateway_dry_run_rpc_client::JinaGatewayDryRunRpcClient, with_causes,
};
use flowgate_tls::TlsRoots;
use serde_json::Value;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::PingError;
use gateway::host::program::env;

/// The largest HTTP response that is read; a status has a few hundred bytes.
const MAX_BODY_BYTES: usize = 1 << 20;

/// A server, and how to reach it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) protocol: Protocol,
    tls: bool,
    authority: String,
}

impl Server {
    pub(super) fn parse(address: &str) -> Result<Self, PingError> {
        let (scheme, authority) = address.split_once("://").unwrap_or(("grpc", address));
        let (protocol, tls) = match scheme {
            "grpc" => (Protocol::Grpc, false),
            "grpcs" => (Protocol::Grpc, true),
            "http" => (Protocol::Http, false),
            "https" => (Protocol::Http, true),
            "ws" | "websocket" => (Protocol::WebSocket, false),
            "wss" => (Protocol::WebSocket, true),
            _ => return Err(PingError::Address(address.to_owned())),
        };
        let authority = authority.trim_end_matches('/');
        match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(Self {
                protocol,
                tls,
                authority: authority.to_owned(),
            }),
            _ => Err(PingError::Address(address.to_owned())),
        }
    }

    pub(super) async fn grpc_health(&self) -> Result<(), PingError> {
        let mut client = HealthClient::new(self.connect_grpc().await?);
        let response = client
            .check(HealthCheckRequest::default())
            .await
            .map_err(|status| grpc_error(&status))?;
        match response.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            status => Err(PingError::Answer(status.as_str_name().to_owned())),
        }
    }

    pub(super) async fn grpc_dry_run(&self) -> Result<(), PingError> {
        let mut client = JinaGatewayDryRunRpcClient::new(self.connect_grpc().await?);
        let response = client.dry_run(()).await;
        let status = response.map_err(|status| grpc_error(&status))?.into_inner();
        match status.code {
            0 => Ok(()),
            _ => Err(PingError::Answer(status.description)),
        }
    }

    /// Checks the HTTP health route, which a Gateway's WebSocket port serves too.
    pub(super) async fn http_health(&self) -> Result<(), PingError> {
        self.get("/").await.map(drop)
    }

    pub(super) async fn http_dry_run(&self) -> Result<(), PingError> {
        let body = self.get("/dry_run").await?;
        let status: Value = serde_json::from_slice(&body).unwrap_or_default();
        match status["code"].as_i64() {
            Some(0) => Ok(()),
            _ => {
                let description = status["description"].as_str();
                Err(PingError::Answer(
                    description.unwrap_or("without a status").to_owned(),
                ))
            }
        }
    }

    async fn connect_grpc(&self) -> Result<Channel, PingError> {
        let scheme = if self.tls { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.authority))
            .map_err(|_| PingError::Address(self.authority.clone()))?;
        if self.tls {
            let tls = grpc_tls()?;
            endpoint = endpoint.tls_config(tls).map_err(connection_error)?;
        }
        endpoint.connect().await.map_err(connection_error)
    }

    async fn get(&self, path: &str) -> Result<Bytes, PingError> {
        let scheme = if self.tls { "https" } else { "http" };
        let url = format!("{scheme}://{}{path}", self.authority).parse();
        let url = url.map_err(|_| PingError::Address(self.authority.clone()))?;
        let roots = roots_path().map_or(TlsRoots::System, |path| TlsRoots::File(path.into()));
        let body = fetch::get(&url, &roots, MAX_BODY_BYTES).await;
        body.map_err(|error| match error {
            FetchError::Status(status) => PingError::Answer(status.to_string()),
            FetchError::Roots(error) => PingError::Roots(with_causes(&error)),
            error => connection_error(error),
        })
    }
}

fn grpc_tls() -> Result<ClientTlsConfig, PingError> {
    let Some(path) = roots_path() else {
        return Ok(ClientTlsConfig::new().with_native_roots());
    };
    let pem = std::fs::read(&path).map_err(|error| roots_error(&path, &error))?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

fn roots_path() -> Option<String> {
    env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH").filter(|path| !path.is_empty())
}

fn roots_error(path: &str, error: &dyn Error) -> PingError {
    PingError::Roots(format!("{path}: {error}"))
}

fn connection_error(error: impl Error) -> PingError {
    PingError::Connection(with_causes(&error))
}

fn grpc_error(status: &tonic::Status) -> PingError {
    PingError::Answer(format!("{:?} {}", status.code(), status.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_as_jina_parses_them() {
        for (address, protocol, tls) in [
            ("127.0.0.1:8081", Protocol::Grpc, false),
            ("http://127.0.0.1:8081", Protocol::Http, false),
            ("ws://localhost:1/", Protocol::WebSocket, false),
            ("grpcs://h:443", Protocol::Grpc, true),
        ] {
            let server = Server::parse(address).expect(address);
            assert_eq!((server.protocol, server.tls), (protocol, tls), "{address}");
        }
        for address in ["", "localhost", "ftp://h:1", ":80", "h:port"] {
            assert!(Server::parse(address).is_err(), "{address}");
        }
    }
}
