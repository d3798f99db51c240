//! The answer to Jina's `_status` call, of Executors and Gateways alike: versions and the `JINA_*` variables, under
//! the keys of Jina 3.13 and of its documentation.

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

/// The version of Jina that this is compatible with, and Flowgate's own; valid as a Python version (PEP 440) and as
/// semver.
pub const VERSION: &str = concat!("3.13.2+flowgate.", env!("CARGO_PKG_VERSION"));

/// Jina's text for an unset variable or an unknown version.
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

/// Returns the answer to `_status`. `variable` looks up a `JINA_*` variable in the environment, or in what the
/// caller knows itself ([`Traffic::variable`], a Gateway's `JINA_STREAMER_ARGS`).
#[must_use]
pub fn jina_info(variable: impl Fn(&str) -> Option<String>) -> JinaInfoProto {
    let unset = VARIABLES
        .iter()
        .map(|key| ((*key).to_owned(), UNSET.to_owned()));
    JinaInfoProto {
        jina: versions(),
        envs: unset.chain(jina_variables(variable)).collect(),
    }
}

/// Returns the `JINA_*` variables that are set, as `_status` shows them: secrets only as `(set)`.
pub fn jina_variables(
    variable: impl Fn(&str) -> Option<String>,
) -> impl Iterator<Item = (String, String)> {
    VARIABLES.iter().filter_map(move |key| {
        let value = variable(key)?;
        let is_secret = SECRETS.contains(key);
        let shown = if is_secret { "(set)".to_owned() } else { value };
        Some(((*key).to_owned(), shown))
    })
}

/// Packages that are not part of this implementation are `(unset)`, or `not-available` where Jina has that text.
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
        ("uptime", start_time()),
        ("ci-vendor", UNSET.to_owned()),
        ("internal", "False".to_owned()),
    ];
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// The operating system as Python names it, with an initial capital: `Linux`.
fn platform() -> String {
    let mut name = std::env::consts::OS.to_owned();
    if let Some(initial) = name.get_mut(..1) {
        initial.make_ascii_uppercase();
    }
    name
}

/// Reads a file of `/proc/sys/kernel`.
fn kernel(file: &str) -> String {
    let text = fs::read_to_string(Path::new("/proc/sys/kernel").join(file));
    text.map_or_else(|_| UNSET.to_owned(), |text| text.trim().to_owned())
}

/// The MAC address of the first network interface as a number, as Python's `uuid.getnode`; random without one.
static UID: LazyLock<u64> =
    LazyLock::new(|| mac_address().unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 >> 16));

fn mac_address() -> Option<u64> {
    let interfaces = fs::read_dir("/sys/class/net").ok()?;
    let mut paths: Vec<_> = interfaces
        .flatten()
        .map(|interface| interface.path())
        .collect();
    paths.sort();
    paths.iter().find_map(|path| {
        let address = fs::read_to_string(path.join("address")).ok()?;
        let address = u64::from_str_radix(&address.trim().replace(':', ""), 16).ok()?;
        (address != 0).then_some(address)
    })
}

static START_TIME: OnceLock<SystemTime> = OnceLock::new();

/// Records now as the start of the process, which `_status` shows as `uptime`. Only the first call counts.
pub fn record_process_start() {
    START_TIME.get_or_init(SystemTime::now);
}

/// The start of the process in Jina's format, `2026-11-22T13:27:11.379904`, in UTC. Jina writes local time, which in a
/// container is UTC as a rule.
fn start_time() -> String {
    let start = START_TIME.get_or_init(SystemTime::now);
    python::isoformat(Timestamp::from(*start))
}

/// Counts the bytes of data requests and answers on the wire.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    invocations: AtomicU64,
    requests: PayloadBytes,
    answers: PayloadBytes,
}

/// One direction of invocations: bytes of the protobuf messages, and of the payloads that carried them.
#[derive(Debug, Default)]
struct PayloadBytes {
    raw: AtomicU64,
    wire: AtomicU64,
}

/// The totals of direct Lambda invocations. Raw bytes are protobuf messages; wire bytes are payloads: the message
/// compressed or not, in base64 and JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InvocationTotals {
    /// Invocations sent, including failed attempts.
    pub invocations: u64,
    /// Bytes of request messages before compression.
    pub raw_sent: u64,
    /// Bytes of request payloads.
    pub wire_sent: u64,
    /// Bytes of answer messages after decompression.
    pub raw_received: u64,
    /// Bytes of answer payloads.
    pub wire_received: u64,
}

impl Traffic {
    /// Adds bytes sent over gRPC.
    pub fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds bytes received over gRPC.
    pub fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds one invocation: the bytes of the request message and of the payload that carries it.
    pub fn add_invocation(&self, raw: usize, wire: usize) {
        self.invocations.fetch_add(1, Ordering::Relaxed);
        self.requests.add(raw, wire);
    }

    /// Adds the answer to an invocation: the bytes of the answer message and of the payload that carries it.
    pub fn add_invocation_answer(&self, raw: usize, wire: usize) {
        self.answers.add(raw, wire);
    }

    /// Returns the bytes of messages `(sent, received)` over gRPC, before compression.
    #[must_use]
    pub fn grpc_totals(&self) -> (u64, u64) {
        let total = |total: &AtomicU64| total.load(Ordering::Relaxed);
        (total(&self.sent), total(&self.received))
    }

    /// Returns the totals of direct Lambda invocations.
    #[must_use]
    pub fn invocation_totals(&self) -> InvocationTotals {
        InvocationTotals {
            invocations: self.invocations.load(Ordering::Relaxed),
            raw_sent: self.requests.raw.load(Ordering::Relaxed),
            wire_sent: self.requests.wire.load(Ordering::Relaxed),
            raw_received: self.answers.raw.load(Ordering::Relaxed),
            wire_received: self.answers.wire.load(Ordering::Relaxed),
        }
    }

    /// Returns a total by the name of Jina's variable; `None` before the first byte, as in Jina.
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

impl PayloadBytes {
    fn add(&self, raw: usize, wire: usize) {
        self.raw.fetch_add(raw as u64, Ordering::Relaxed);
        self.wire.fetch_add(wire as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let info = jina_info(|key| (key != "JINA_LOG_LEVEL").then(|| "hush".to_owned()));
        assert_eq!(info.envs["JINA_AUTH_TOKEN"], "(set)");
        assert_eq!(info.envs["JINA_FULL_CLI"], "hush");
        assert_eq!(info.envs["JINA_LOG_LEVEL"], "(unset)");
        assert_eq!(jina_info(|_| None).envs["JINA_AUTH_TOKEN"], "(unset)");
    }

    #[test]
    fn versions_have_jinas_format() {
        let info = jina_info(|_| None).jina;
        assert_eq!(info["jina-proto"], "0.1.13");
        assert!(info["uid"].parse::<u64>().is_ok_and(|uid| uid < 1 << 48));
        let uptime = &info["uptime"];
        assert_eq!(uptime.as_bytes().get(10), Some(&b'T'), "{uptime}");
        assert!(!uptime.ends_with('Z'), "{uptime}");
        assert_ne!(info["session-id"], jina_info(|_| None).jina["session-id"]);
    }

    #[test]
    fn totals_add_up() {
        let traffic = Traffic::default();
        assert_eq!(traffic.variable("JINA_GRPC_SEND_BYTES"), None);
        traffic.add_sent(3);
        traffic.add_sent(4);
        assert_eq!(
            traffic.variable("JINA_GRPC_SEND_BYTES").as_deref(),
            Some("7")
        );
        traffic.add_invocation(9, 5);
        traffic.add_invocation(9, 5);
        traffic.add_invocation_answer(2, 3);
        let totals = InvocationTotals {
            invocations: 2,
            raw_sent: 18,
            wire_sent: 10,
            raw_received: 2,
            wire_received: 3,
        };
        assert_eq!(traffic.invocation_totals(), totals);
    }
}
