//! Sends visits to Executors as subsegments of the invocation's X-Ray trace to Lambda's X-Ray daemon, by UDP.

use std::{
    net::{SocketAddr, UdpSocket},
    time::SystemTime,
};

use flowgate_proto::{Timestamp, generate_id};
use serde_json::json;

use crate::context::Visit;

/// A connection to the X-Ray daemon.
#[derive(Debug)]
pub struct XRay {
    socket: UdpSocket,
}

/// The segment of an invocation, from `X-Amzn-Trace-Id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    trace_id: String,
    parent_id: String,
}

impl XRay {
    /// Connects to the daemon at `AWS_XRAY_DAEMON_ADDRESS`; `None` without a valid address. Nothing is sent yet.
    #[must_use]
    pub fn from_environment(env: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let address = daemon_address(&env("AWS_XRAY_DAEMON_ADDRESS")?)?;
        let local = match address {
            SocketAddr::V4(_) => "0.0.0.0:0",
            SocketAddr::V6(_) => "[::]:0",
        };
        let socket = UdpSocket::bind(local).ok()?;
        socket.set_nonblocking(true).ok()?;
        socket.connect(address).ok()?;
        Some(Self { socket })
    }

    /// Sends the visits that have ended. All packets are sent when this returns, so that the freeze loses none.
    pub fn send(&self, segment: &Segment, visits: &[Visit]) {
        for packet in visits.iter().filter_map(|visit| segment.packet(visit)) {
            // A lost packet loses only a part of the trace.
            let _ = self.socket.send(packet.as_bytes());
        }
    }
}

/// Parses `host:port`, or `tcp:host:port udp:host:port` (X-Ray SDKs, `AWS_XRAY_DAEMON_ADDRESS`).
fn daemon_address(address: &str) -> Option<SocketAddr> {
    address.split_whitespace().find_map(|part| {
        let part = part.strip_prefix("udp:").unwrap_or(part);
        part.parse().ok()
    })
}

impl Segment {
    /// Parses a header value; `None` if the trace is not sampled and must not be sent (X-Ray, "Tracing header").
    #[must_use]
    pub fn from_sampled(header: &str) -> Option<Self> {
        let value = |name: &str| {
            let parts = header.split(';').map(str::trim);
            let mut named = parts.filter_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            named.next().map(str::to_owned)
        };
        value("Sampled").filter(|sampled| sampled == "1")?;
        Some(Self {
            trace_id: value("Root")?,
            parent_id: value("Parent")?,
        })
    }

    fn packet(&self, visit: &Visit) -> Option<String> {
        let id = generate_id();
        let document = json!({
            "type": "subsegment",
            "name": segment_name(&visit.executor),
            "id": &id[..16],
            "trace_id": self.trace_id,
            "parent_id": self.parent_id,
            "start_time": seconds(visit.start)?,
            "end_time": seconds(visit.end?)?,
            "namespace": "remote",
            "fault": visit.failed,
        });
        Some(format!("{HEADER}\n{document}"))
    }
}

const MAX_NAME_CHARS: usize = 200;

const HEADER: &str = r#"{"format":"json","version":1}"#;

/// Replaces the characters that a segment's name must not have, and cuts it at 200 characters (X-Ray segment documents).
fn segment_name(executor: &str) -> String {
    let allowed = |c: char| c.is_alphanumeric() || " _.:/%&#=+\\-@".contains(c);
    let characters = executor.chars().map(|c| if allowed(c) { c } else { '_' });
    characters.take(MAX_NAME_CHARS).collect()
}

fn seconds(time: Timestamp) -> Option<f64> {
    let time = SystemTime::try_from(time).ok()?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str =
        "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

    #[test]
    fn only_sampled_traces_are_sent() {
        let segment = Segment::from_sampled(TRACE).expect("sampled");
        assert_eq!(segment.parent_id, "53995c3f42cd8ad8");
        assert_eq!(
            Segment::from_sampled(&format!("Lineage=1:a:0;{TRACE}")),
            Some(segment)
        );
        for header in ["", "Root=1-a-b;Parent=c;Sampled=0", "Root=1-a-b;Sampled=1"] {
            assert_eq!(Segment::from_sampled(header), None, "{header}");
        }
    }

    #[test]
    fn each_visit_that_has_ended_is_one_packet_to_the_daemon() {
        let daemon = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = daemon.local_addr().expect("bound");
        let env = |name: &str| {
            (name == "AWS_XRAY_DAEMON_ADDRESS").then(|| format!("tcp:{address} udp:{address}"))
        };
        let xray = XRay::from_environment(&env).expect("an address");
        let visit = |executor: &str, end| Visit {
            executor: executor.to_owned(),
            start: Timestamp {
                seconds: 1,
                nanos: 500_000_000,
            },
            end,
            failed: false,
        };
        let end = Some(Timestamp {
            seconds: 2,
            nanos: 0,
        });
        let segment = Segment::from_sampled(TRACE).expect("sampled");
        xray.send(&segment, &[visit("running", None), visit("a,b", end)]);
        let mut packet = [0; 4096];
        let length = daemon.recv(&mut packet).expect("a packet");
        let text = std::str::from_utf8(&packet[..length]).expect("text");
        let (header, document) = text.split_once('\n').expect("two lines");
        assert_eq!(header, HEADER);
        let document: serde_json::Value = serde_json::from_str(document).expect("JSON");
        assert_eq!(document["name"], "a_b");
        assert_eq!(document["start_time"], 1.5);
        assert_eq!(document["end_time"], 2.0);
        assert_eq!(document["trace_id"], "1-5759e988-bd862e3fe1be46a994272793");
        assert_eq!(document["id"].as_str().map(str::len), Some(16));
    }
}
