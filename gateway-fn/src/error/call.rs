//! A failed call to an Executor, and the texts with which Jina's Gateway reports it.

use std::{fmt, num::NonZeroU32, sync::Arc};

use flowgate_grpc::client;
use tonic::metadata::MetadataMap;

use super::ErrorCode;

/// Why a call to a deployment failed, after all attempts.
#[derive(Debug, thiserror::Error)]
#[error("call to executor `{deployment}` failed: {}", self.cause())]
pub struct CallError {
    /// The deployment's name.
    pub deployment: String,
    /// The addresses that were tried, `host:port` in the order of the first attempt; or the functions of the deployment.
    pub addresses: Box<[String]>,
    /// Whether clients may see the addresses and the peer's own texts, which may contain addresses too.
    pub show_addresses: bool,
    /// How the last attempt failed.
    pub failure: CallFailure,
    /// The last peer's own text, or gRPC's text for the failure.
    pub peer_detail: String,
    /// Trailing metadata of the peer's failure.
    pub trailers: Box<MetadataMap>,
    /// How many seconds the peer asks to wait before another request.
    pub retry_after: Option<NonZeroU32>,
    /// The transport's error, for the log. It may contain addresses.
    pub source: Option<Arc<client::CallError>>,
    /// Whether this Executor, or another one of the Flow, may have run the request.
    pub may_have_run: bool,
}

/// How an attempt failed.
#[derive(Clone, Debug)]
pub enum CallFailure {
    /// The connection failed, or the peer answered UNAVAILABLE.
    Unreachable,
    /// `timeout_send` passed, or the peer answered DEADLINE_EXCEEDED.
    TimedOut,
    /// The request's own deadline passed.
    DeadlineExceeded,
    /// The peer answered with another gRPC status.
    Status(tonic::Code),
    /// A Lambda invocation failed.
    Invocation {
        /// The kind of failure.
        code: ErrorCode,
        /// One sentence for the client. It names no function, account or address.
        message: String,
    },
}

impl CallFailure {
    /// The kind of failure.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Unreachable => ErrorCode::Unavailable,
            Self::TimedOut | Self::DeadlineExceeded => ErrorCode::DeadlineExceeded,
            Self::Status(_) => ErrorCode::Refused,
            Self::Invocation { code, .. } => *code,
        }
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => formatter.write_str("unreachable"),
            Self::TimedOut => formatter.write_str("timed out"),
            Self::DeadlineExceeded => formatter.write_str("deadline exceeded"),
            Self::Status(code) => write!(formatter, "status {code:?}"),
            Self::Invocation { message, .. } => formatter.write_str(message),
        }
    }
}

impl CallError {
    /// Returns the error of a call to `deployment` that was not answered before the request's deadline.
    pub(crate) fn deadline_exceeded(deployment: &str) -> Self {
        Self {
            deployment: deployment.to_owned(),
            addresses: Box::default(),
            show_addresses: false,
            failure: CallFailure::DeadlineExceeded,
            peer_detail: "the request's deadline passed".to_owned(),
            trailers: Box::default(),
            retry_after: None,
            source: None,
            may_have_run: true,
        }
    }

    /// The addresses for the log; `None` if there are none, as of an Executor in this process.
    pub(crate) fn joined_addresses(&self) -> Option<String> {
        let addresses = self.addresses.join(", ");
        Some(addresses).filter(|addresses| !addresses.is_empty())
    }

    /// Adds the addresses that were tried, for the log.
    pub(crate) fn with_addresses(self, addresses: Vec<String>) -> Self {
        Self {
            addresses: addresses.into(),
            ..self
        }
    }

    /// The text for the client, in Jina's words where Jina has such an error (Jina 3.13, recording
    /// `grpc/44-executor_down_dry_run`).
    #[must_use]
    pub fn detail(&self) -> String {
        let Self { deployment, .. } = self;
        let (at, peer_detail) = (self.at_addresses(), self.shown_peer_detail());
        match &self.failure {
            CallFailure::Unreachable => format!(
                "{peer_detail} |Gateway: Communication error with deployment {deployment}{at}. Head or worker(s) may \
                 be down."
            ),
            CallFailure::TimedOut => format!(
                "{peer_detail}|Gateway: Connection with deployment {deployment}{at} could be established, but timed \
                 out. You can increase the allowed time by setting `timeout_send` in your Flow YAML `with` block or \
                 Flow `__init__()` method."
            ),
            CallFailure::DeadlineExceeded => {
                format!("the request's deadline passed before deployment {deployment} answered")
            }
            CallFailure::Status(code) => format!(
                "{peer_detail}|Gateway: Deployment {deployment}{at} returned status {code:?}."
            ),
            CallFailure::Invocation { message, .. } if peer_detail.is_empty() => {
                format!("deployment {deployment}{at}: {message}")
            }
            CallFailure::Invocation { message, .. } => {
                format!("deployment {deployment}{at}: {message} ({peer_detail})")
            }
        }
    }

    /// The text that fits into a WebSocket close frame (Jina 3.13, recordings
    /// `ws/11-executor_down`, `ws/12-timeout`).
    #[must_use]
    pub fn short_detail(&self) -> String {
        let at = match self.show_addresses {
            true => format!("deployment at {}", self.address_set()),
            false => format!("deployment {}", self.deployment),
        };
        match &self.failure {
            CallFailure::Unreachable => {
                format!("Network error while connecting to {at}. It may be down.")
            }
            CallFailure::TimedOut => {
                format!("Connection to {at} timed out. You can adjust `timeout_send` attribute.")
            }
            CallFailure::DeadlineExceeded => self.detail(),
            CallFailure::Status(code) => format!("The {at} returned status {code:?}."),
            CallFailure::Invocation { message, .. } => {
                format!("deployment {}: {message}", self.deployment)
            }
        }
    }

    /// Trailing metadata for the client.
    #[must_use]
    pub fn shown_trailers(&self) -> MetadataMap {
        match self.show_addresses {
            true => self.trailers.as_ref().clone(),
            false => MetadataMap::new(),
        }
    }

    /// The cause for the log, with the peer's own text.
    fn cause(&self) -> String {
        match &self.failure {
            CallFailure::Invocation { message, .. } if self.peer_detail.is_empty() => {
                message.clone()
            }
            CallFailure::Invocation { message, .. } => format!("{message} ({})", self.peer_detail),
            CallFailure::Unreachable
            | CallFailure::TimedOut
            | CallFailure::DeadlineExceeded
            | CallFailure::Status(_) => self.peer_detail.clone(),
        }
    }

    fn shown_peer_detail(&self) -> &str {
        match (self.show_addresses, &self.failure) {
            (true, _) => &self.peer_detail,
            (false, CallFailure::Unreachable) => UNREACHABLE,
            (false, CallFailure::TimedOut | CallFailure::DeadlineExceeded) => TIMED_OUT,
            (false, CallFailure::Status(code)) => code.description(),
            // Lambda's texts name ARNs, and a function's text may contain anything.
            (false, CallFailure::Invocation { .. }) => "",
        }
    }

    fn at_addresses(&self) -> String {
        match self.show_addresses {
            true => format!(" at address(es) {}", self.address_set()),
            false => String::new(),
        }
    }

    /// The addresses in the form in which Python prints a set.
    fn address_set(&self) -> String {
        let quoted: Vec<_> = self
            .addresses
            .iter()
            .map(|address| format!("'{address}'"))
            .collect();
        format!("{{{}}}", quoted.join(", "))
    }
}

/// gRPC's text for a peer that cannot be reached, which Jina's clients know.
pub(crate) const UNREACHABLE: &str = "failed to connect to all addresses";

/// gRPC's text for a deadline that has passed.
pub(crate) const TIMED_OUT: &str = "Deadline Exceeded";
