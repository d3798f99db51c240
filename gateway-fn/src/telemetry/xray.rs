//! Visits to Executors -> subsegments of the invocation's X-Ray trace, one UDP packet each to Lambda's own daemon.

use std::{
    net::{SocketAddr, UdpSocket},
    time::SystemTime,
};

use flowgate_proto::Timestamp;
use serde_json::json;

use crate::context::Visit;

/// The way to the daemon.
#[derive(Debug)]
pub struct XRay {
    socket: UdpSocket,
}

/// The segment of an invocation, as `X-Amzn-Trace-Id` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    trace_id: String,
    parent_id: String,
}

impl XRay {
    /// The daemon at `AWS_XRAY_DAEMON_ADDRESS`; `None` where there is none. Nothing is sent yet.
    #[must_use]
    pub fn of_environment(env: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let address: SocketAddr = daemon(&env("AWS_XRAY_DAEMON_ADDRESS")?)?;
        let any = match address {
            SocketAddr::V4(_) => "0.0.0.0:0",
            SocketAddr::V6(_) => "[::]:0",
        };
        let socket = UdpSocket::bind(any).ok()?;
        socket.set_nonblocking(true).ok()?;
        socket.connect(address).ok()?;
        Some(Self { socket })
    }

    /// Sends the visits that have ended. It is done when this returns: nothing is left for after the freeze.
    pub fn send(&self, segment: &Segment, visits: &[Visit]) {
        for packet in visits.iter().filter_map(|visit| segment.packet(visit)) {
            // A daemon that does not listen loses a picture, and nobody waits for it.
            let _ = self.socket.send(packet.as_bytes());
        }
    }
}

/// `host:port`, or `tcp:host:port udp:host:port` (X-Ray SDKs, `AWS_XRAY_DAEMON_ADDRESS`).
fn daemon(address: &str) -> Option<SocketAddr> {
    address.split_whitespace().find_map(|part| {
        let part = part.strip_prefix("udp:").unwrap_or(part);
        part.parse().ok()
    })
}

impl Segment {
    /// The segment of a header's value, if it is sampled: others are not to be sent (X-Ray, "Tracing header").
    #[must_use]
    pub fn sampled(header: &str) -> Option<Self> {
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
        let id = uuid::Uuid::new_v4().simple().to_string();
        let document = json!({
            "type": "subsegment",
            "name": name(&visit.executor),
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

const HEADER: &str = r#"{"format":"json","version":1}"#;

/// The characters that a segment's name may have, at most 200 of them (X-Ray segment documents).
fn name(executor: &str) -> String {
    let allowed = |c: char| c.is_alphanumeric() || " _.:/%&#=+\\-@".contains(c);
    let kept = executor.chars().map(|c| if allowed(c) { c } else { '_' });
    kept.take(200).collect()
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
        let segment = Segment::sampled(TRACE).expect("sampled");
        assert_eq!(segment.parent_id, "53995c3f42cd8ad8");
        assert_eq!(
            Segment::sampled(&format!("Lineage=1:a:0;{TRACE}")),
            Some(segment)
        );
        for header in ["", "Root=1-a-b;Parent=c;Sampled=0", "Root=1-a-b;Sampled=1"] {
            assert_eq!(Segment::sampled(header), None, "{header}");
        }
    }

    #[test]
    fn the_daemon_gets_one_packet_for_each_visit_that_has_ended() {
        let daemon = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = daemon.local_addr().expect("bound");
        let env = |name: &str| {
            (name == "AWS_XRAY_DAEMON_ADDRESS").then(|| format!("tcp:{address} udp:{address}"))
        };
        let xray = XRay::of_environment(&env).expect("an address");
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
        let segment = Segment::sampled(TRACE).expect("sampled");
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
