//! A call that got no answer, in the words of Jina's Gateway.

use tonic::metadata::MetadataMap;

use super::lambda::InvokeFault;

/// Why a call to a deployment failed, after all tries.
#[derive(Debug, thiserror::Error)]
#[error("executor {deployment} gave no answer: {}", self.cause())]
pub struct CallError {
    /// The deployment's name.
    pub deployment: String,
    /// Addresses tried, `host:port` in the order of the first try, or the functions of the deployment.
    pub addresses: Vec<String>,
    /// Whether clients may see the addresses, and with them what peers say, who name addresses of their own.
    pub shown: bool,
    /// What kind of failure the last try met.
    pub failure: Failure,
    /// What the last peer said, or gRPC's own words for it.
    pub peer_detail: String,
    /// Trailing metadata of the peer's failure.
    pub trailers: Box<MetadataMap>,
}

/// The kind of failure of the last try.
#[derive(Debug)]
pub enum Failure {
    /// No connection, or the peer said UNAVAILABLE.
    Unreachable,
    /// `timeout_send` passed, or the peer said DEADLINE_EXCEEDED.
    TimedOut,
    /// The request's own time was over before the answer was there.
    OutOfTime,
    /// The peer answered with another gRPC status.
    Refused(tonic::Code),
    /// A Lambda invocation failed.
    Invocation(Box<InvokeFault>),
}

impl CallError {
    /// The request's time was over before `deployment` had answered.
    pub(super) fn out_of_time(deployment: &str) -> Self {
        Self {
            deployment: deployment.to_owned(),
            addresses: Vec::new(),
            shown: false,
            failure: Failure::OutOfTime,
            peer_detail: "the request's time is over".to_owned(),
            trailers: Box::default(),
        }
    }

    /// Jina's detail text (facts of Jina 3.13, recording `grpc/44-executor_down_dry_run`).
    #[must_use]
    pub fn detail(&self) -> String {
        let Self { deployment, .. } = self;
        let (at, peer_detail) = (self.at(), self.shown_peer_detail());
        match &self.failure {
            Failure::Unreachable => format!(
                "{peer_detail} |Gateway: Communication error with deployment {deployment}{at}. Head or worker(s) may \
                 be down."
            ),
            Failure::TimedOut => format!(
                "{peer_detail}|Gateway: Connection with deployment {deployment}{at} could be established, but timed \
                 out. You can increase the allowed time by setting `timeout_send` in your Flow YAML `with` block or \
                 Flow `__init__()` method."
            ),
            Failure::OutOfTime => format!(
                "the time that the request may take was over before deployment {deployment} had answered"
            ),
            Failure::Refused(code) => format!(
                "{peer_detail}|Gateway: Deployment {deployment}{at} refused the call with status {code:?}."
            ),
            Failure::Invocation(fault) => {
                let said = match peer_detail {
                    "" => String::new(),
                    said => format!(" ({said})"),
                };
                format!("deployment {deployment}{at}: {}{said}", fault.sentence())
            }
        }
    }

    /// The text that fits into a WebSocket close frame (facts of Jina 3.13, recordings `ws/11`, `ws/12`).
    #[must_use]
    pub fn short_detail(&self) -> String {
        let at = match self.shown {
            true => format!("deployment at {}", self.set()),
            false => format!("deployment {}", self.deployment),
        };
        match &self.failure {
            Failure::Unreachable => {
                format!("Network error while connecting to {at}. It may be down.")
            }
            Failure::TimedOut => {
                format!("Connection to {at} timed out. You can adjust `timeout_send` attribute.")
            }
            Failure::OutOfTime => self.detail(),
            Failure::Refused(code) => format!("The {at} refused the call with status {code:?}."),
            Failure::Invocation(fault) => format!("deployment {}: {fault}", self.deployment),
        }
    }

    /// Trailing metadata for the client.
    #[must_use]
    pub fn shown_trailers(&self) -> MetadataMap {
        match self.shown {
            true => self.trailers.as_ref().clone(),
            false => MetadataMap::new(),
        }
    }

    /// For the log.
    fn cause(&self) -> String {
        match &self.failure {
            Failure::Invocation(fault) if self.peer_detail.is_empty() => fault.sentence(),
            Failure::Invocation(fault) => format!("{} ({})", fault.sentence(), self.peer_detail),
            Failure::Unreachable | Failure::TimedOut | Failure::OutOfTime | Failure::Refused(_) => {
                self.peer_detail.clone()
            }
        }
    }

    fn shown_peer_detail(&self) -> &str {
        match (self.shown, &self.failure) {
            (true, _) => &self.peer_detail,
            (false, Failure::Unreachable) => UNREACHABLE,
            (false, Failure::TimedOut | Failure::OutOfTime) => TIMED_OUT,
            (false, Failure::Refused(code)) => code.description(),
            // What Lambda says names ARNs, and what a function says may be anything.
            (false, Failure::Invocation(_)) => "",
        }
    }

    fn at(&self) -> String {
        match self.shown {
            true => format!(" at address(es) {}", self.set()),
            false => String::new(),
        }
    }

    /// The addresses as Python prints a set.
    fn set(&self) -> String {
        let quoted: Vec<_> = self
            .addresses
            .iter()
            .map(|address| format!("'{address}'"))
            .collect();
        format!("{{{}}}", quoted.join(", "))
    }
}

/// gRPC's own words for a peer that cannot be reached, as Jina's clients know them.
pub(super) const UNREACHABLE: &str = "failed to connect to all addresses";

/// gRPC's own words for a deadline that has passed.
pub(super) const TIMED_OUT: &str = "Deadline Exceeded";
