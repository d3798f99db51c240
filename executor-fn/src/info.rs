//! What a Jina peer answers to `_status`: versions of what runs here and the `JINA_*` variables,
//! under the keys of Jina 3.13 and of its documentation.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use flowgate_proto::{JINA_PROTO_VERSION, Timestamp, jina::JinaInfoProto, python};

/// The Jina that this is compatible with, and what it really is; a version by Python's and by
/// semver's rules.
pub const VERSION: &str = concat!("3.13.2+flowgate.", env!("CARGO_PKG_VERSION"));

const UNSET: &str = "(unset)";

const VARIABLES: &[&str] = &[
    "JINA_AUTH_TOKEN",
    "JINA_DEFAULT_HOST",
    "JINA_DEFAULT_TIMEOUT_CTRL",
    "JINA_DEPLOYMENT_NAME",
    "JINA_DISABLE_UVLOOP",
    "JINA_EARLY_STOP",
    "JINA_FULL_CLI",
    "JINA_GATEWAY_IMAGE",
    "JINA_GRPC_RECV_BYTES",
    "JINA_GRPC_SEND_BYTES",
    "JINA_HUBBLE_REGISTRY",
    "JINA_HUB_NO_IMAGE_REBUILD",
    "JINA_K8S_ACCESS_MODES",
    "JINA_K8S_STORAGE_CAPACITY",
    "JINA_K8S_STORAGE_CLASS_NAME",
    "JINA_LOCKS_ROOT",
    "JINA_LOG_CONFIG",
    "JINA_LOG_LEVEL",
    "JINA_LOG_NO_COLOR",
    "JINA_MP_START_METHOD",
    "JINA_OPTOUT_TELEMETRY",
    "JINA_RANDOM_PORT_MAX",
    "JINA_RANDOM_PORT_MIN",
    "JINA_STREAMER_ARGS",
];

/// Variables of which only the presence is shown.
const SECRETS: &[&str] = &["JINA_AUTH_TOKEN"];

/// The answer to `_status`. `variable` gives a `JINA_*` variable's value: the environment's, or what
/// the caller knows better ([`Traffic::variable`], a Gateway's `JINA_STREAMER_ARGS`).
#[must_use]
pub fn jina_info(variable: impl Fn(&str) -> Option<String>) -> JinaInfoProto {
    let unset = VARIABLES
        .iter()
        .map(|key| ((*key).to_owned(), UNSET.to_owned()));
    JinaInfoProto {
        jina: versions(),
        envs: unset.chain(variables(variable)).collect(),
    }
}

/// The `JINA_*` variables that are set, as `_status` shows them.
pub fn variables(
    variable: impl Fn(&str) -> Option<String>,
) -> impl Iterator<Item = (String, String)> {
    VARIABLES.iter().filter_map(move |key| {
        let value = variable(key)?;
        let is_secret = SECRETS.contains(key);
        let shown = if is_secret { "(set)".to_owned() } else { value };
        Some(((*key).to_owned(), shown))
    })
}

/// What is not part of this implementation is `(unset)`, or `not-available` where Jina says so.
fn versions() -> BTreeMap<String, String> {
    let entries = [
        ("jina", VERSION.to_owned()),
        ("docarray", UNSET.to_owned()),
        ("jcloud", "not-available".to_owned()),
        ("jina-hubble-sdk", "not-available".to_owned()),
        ("jina-proto", JINA_PROTO_VERSION.to_owned()),
        ("jina-vcs-tag", UNSET.to_owned()),
        ("protobuf", UNSET.to_owned()),
        ("proto-backend", "prost".to_owned()),
        ("grpcio", UNSET.to_owned()),
        ("pyyaml", UNSET.to_owned()),
        ("python", UNSET.to_owned()),
        ("platform", platform()),
        ("platform-release", kernel("osrelease")),
        ("platform-version", kernel("version")),
        ("architecture", std::env::consts::ARCH.to_owned()),
        ("processor", String::new()),
        ("uid", UID.to_string()),
        ("session-id", uuid::Uuid::new_v4().to_string()),
        ("uptime", started()),
        ("ci-vendor", UNSET.to_owned()),
        ("internal", "False".to_owned()),
    ];
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// `Linux`, as Python names it.
fn platform() -> String {
    let mut name = std::env::consts::OS.to_owned();
    if let Some(initial) = name.get_mut(..1) {
        initial.make_ascii_uppercase();
    }
    name
}

fn kernel(fact: &str) -> String {
    let text = fs::read_to_string(Path::new("/proc/sys/kernel").join(fact));
    text.map_or_else(|_| UNSET.to_owned(), |text| text.trim().to_owned())
}

/// The hardware address of the first network card as a number; a random one without a card.
static UID: LazyLock<u64> = LazyLock::new(|| {
    hardware_address().unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 >> 16)
});

fn hardware_address() -> Option<u64> {
    let cards = fs::read_dir("/sys/class/net").ok()?;
    let mut paths: Vec<_> = cards.flatten().map(|card| card.path()).collect();
    paths.sort();
    paths.iter().find_map(|card| {
        let address = fs::read_to_string(card.join("address")).ok()?;
        let address = u64::from_str_radix(&address.trim().replace(':', ""), 16).ok()?;
        (address != 0).then_some(address)
    })
}

static STARTED: OnceLock<SystemTime> = OnceLock::new();

/// Notes the time of the process's start; the first call counts.
pub fn note_start() {
    STARTED.get_or_init(SystemTime::now);
}

/// The start in Jina's form, `2026-11-22T13:27:11.379904`. It is UTC: Jina's is local time, which a
/// container has as UTC.
fn started() -> String {
    let started = STARTED.get_or_init(SystemTime::now);
    python::isoformat(Timestamp::from(*started))
}

/// Running totals of data requests and answers on the wire, in bytes.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    invocations: AtomicU64,
    requests: Leg,
    answers: Leg,
}

/// One way of invocations: bytes of messages, and of the payloads that carried them.
#[derive(Debug, Default)]
struct Leg {
    raw: AtomicU64,
    wire: AtomicU64,
}

/// What went by direct Lambda invocation, in bytes: protobuf as it is, and payloads as they travel, compressed or not,
/// in base64 and JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InvocationTotals {
    /// Payloads sent, tries that failed among them.
    pub invocations: u64,
    /// Requests before compression.
    pub raw_sent: u64,
    /// Requests as payloads.
    pub wire_sent: u64,
    /// Answers after decompression.
    pub raw_received: u64,
    /// Answers as payloads.
    pub wire_received: u64,
}

impl Traffic {
    /// Counts bytes sent.
    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes received.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a payload sent, and the message in it.
    pub fn invoked(&self, raw: usize, wire: usize) {
        self.invocations.fetch_add(1, Ordering::Relaxed);
        self.requests.count(raw, wire);
    }

    /// Counts a payload received, and the message in it.
    pub fn answered(&self, raw: usize, wire: usize) {
        self.answers.count(raw, wire);
    }

    /// Bytes of messages sent and received over gRPC, before compression.
    #[must_use]
    pub fn over_grpc(&self) -> (u64, u64) {
        let total = |total: &AtomicU64| total.load(Ordering::Relaxed);
        (total(&self.sent), total(&self.received))
    }

    /// The totals of invocations.
    #[must_use]
    pub fn invocations(&self) -> InvocationTotals {
        InvocationTotals {
            invocations: self.invocations.load(Ordering::Relaxed),
            raw_sent: self.requests.raw.load(Ordering::Relaxed),
            wire_sent: self.requests.wire.load(Ordering::Relaxed),
            raw_received: self.answers.raw.load(Ordering::Relaxed),
            wire_received: self.answers.wire.load(Ordering::Relaxed),
        }
    }

    /// The totals under the names of Jina's variables; `None` before the first byte, as in Jina.
    #[must_use]
    pub fn variable(&self, key: &str) -> Option<String> {
        let total = match key {
            "JINA_GRPC_SEND_BYTES" => &self.sent,
            "JINA_GRPC_RECV_BYTES" => &self.received,
            _ => return None,
        };
        let total = total.load(Ordering::Relaxed);
        (total > 0).then(|| total.to_string())
    }
}

impl Leg {
    fn count(&self, raw: usize, wire: usize) {
        self.raw.fetch_add(raw as u64, Ordering::Relaxed);
        self.wire.fetch_add(wire as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_never_shown() {
        let info = jina_info(|key| (key != "JINA_LOG_LEVEL").then(|| "hush".to_owned()));
        assert_eq!(info.envs["JINA_AUTH_TOKEN"], "(set)");
        assert_eq!(info.envs["JINA_FULL_CLI"], "hush");
        assert_eq!(info.envs["JINA_LOG_LEVEL"], "(unset)");
        assert_eq!(jina_info(|_| None).envs["JINA_AUTH_TOKEN"], "(unset)");
    }

    #[test]
    fn the_facts_have_jinas_form() {
        let info = jina_info(|_| None).jina;
        assert_eq!(info["jina-proto"], "0.1.13");
        assert!(info["uid"].parse::<u64>().is_ok_and(|uid| uid < 1 << 48));
        let uptime = &info["uptime"];
        assert_eq!(uptime.as_bytes().get(10), Some(&b'T'), "{uptime}");
        assert!(!uptime.ends_with('Z'), "{uptime}");
        assert_ne!(info["session-id"], jina_info(|_| None).jina["session-id"]);
    }

    #[test]
    fn totals_grow() {
        let traffic = Traffic::default();
        assert_eq!(traffic.variable("JINA_GRPC_SEND_BYTES"), None);
        traffic.sent(3);
        traffic.sent(4);
        assert_eq!(
            traffic.variable("JINA_GRPC_SEND_BYTES").as_deref(),
            Some("7")
        );
        traffic.invoked(9, 5);
        traffic.invoked(9, 5);
        traffic.answered(2, 3);
        let totals = InvocationTotals {
            invocations: 2,
            raw_sent: 18,
            wire_sent: 10,
            raw_received: 2,
            wire_received: 3,
        };
        assert_eq!(traffic.invocations(), totals);
    }
}
