//! `protocol` and `port` of the Gateway to its listeners.

use super::{Listener, Protocol};
use crate::{
    address,
    diagnostic::{Report, nearest},
    section::{Commas, Section, Word},
};

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> Vec<Listener> {
    let before = report.count();
    let protocols = protocols(section, report);
    let ports = ports(section, report);
    if report.count() > before {
        return Vec::new();
    }
    let ports = if ports.is_empty() {
        vec![0; protocols.len()]
    } else {
        ports
    };
    if ports.len() != protocols.len() {
        let place = section
            .find(PORT)
            .or_else(|| section.find(PROTOCOL))
            .map(|entry| entry.place)
            .unwrap_or_default();
        let found = format!("{} ports for {} protocols", ports.len(), protocols.len());
        report.error(
            &place,
            found,
            "as many ports as protocols (protocols that share a port name it twice)",
        );
        return Vec::new();
    }
    let listeners: Vec<Listener> = protocols
        .into_iter()
        .zip(ports)
        .map(|(protocol, port)| Listener { protocol, port })
        .collect();
    check_twins(&listeners, section, report);
    listeners
}

fn protocols(section: &Section<'_>, report: &mut Report) -> Vec<Protocol> {
    let words = section.words(PROTOCOL, Commas::Split, report);
    let mut protocols: Vec<Protocol> = words
        .iter()
        .filter_map(|word| protocol(word, report))
        .collect();
    if protocols.is_empty() {
        protocols.push(Protocol::Grpc);
    }
    let Some(class) = section.find(&["uses"]) else {
        return protocols;
    };
    match class.node.text().as_deref().map(built_in) {
        Some(Some(Class::Single(protocol))) => {
            if words.len() == 1 && protocols != [protocol] {
                report.warn(
                    &class.place,
                    class.node.found(),
                    format!(
                        "the Gateway of the protocol {}; as in Jina `uses` wins",
                        protocols[0]
                    ),
                );
            }
            if protocols.len() == 1 {
                vec![protocol]
            } else {
                protocols
            }
        }
        Some(Some(Class::Composite)) => protocols,
        _ => {
            class.wrong::<()>("no `uses`, or a Gateway of Jina's own (GRPCGateway, HTTPGateway, WebSocketGateway, CompositeGateway): no Python runs here", report);
            protocols
        }
    }
}

fn protocol(word: &Word<'_>, report: &mut Report) -> Option<Protocol> {
    Protocol::from_name(&word.text).or_else(|| {
        let hint = nearest(
            &word.text.to_ascii_lowercase(),
            ["grpc", "http", "websocket"],
        );
        word.entry.wrong(
            format!(
                "grpc, http or websocket{}",
                if word.entry.node.variables.is_some() {
                    ""
                } else {
                    &hint
                }
            ),
            report,
        )
    })
}

fn ports(section: &Section<'_>, report: &mut Report) -> Vec<u16> {
    let words = section.words(PORT, Commas::Split, report);
    let port = |word: &Word<'_>| {
        address::port(&word.text).or_else(|| {
            word.entry
                .wrong("a port from 0 to 65535 (0 takes a free one)", report)
        })
    };
    words.iter().filter_map(port).collect()
}

/// The same protocol twice on one port cannot be served.
fn check_twins(listeners: &[Listener], section: &Section<'_>, report: &mut Report) {
    for (index, listener) in listeners.iter().enumerate() {
        if listener.port != 0 && listeners[..index].contains(listener) {
            let place = section
                .find(PORT)
                .map(|entry| entry.place)
                .unwrap_or_default();
            report.error(
                &place,
                format!("{} twice on one port", listener.protocol),
                "another port for the second",
            );
        }
    }
}

enum Class {
    Single(Protocol),
    Composite,
}

/// Jina's own Gateway classes, which its exports to Kubernetes name.
fn built_in(class: &str) -> Option<Class> {
    match class {
        "GRPCGateway" => Some(Class::Single(Protocol::Grpc)),
        "HTTPGateway" => Some(Class::Single(Protocol::Http)),
        "WebSocketGateway" => Some(Class::Single(Protocol::WebSocket)),
        "CompositeGateway" => Some(Class::Composite),
        _ => None,
    }
}

const PROTOCOL: &[&str] = &["protocol", "protocols"];

const PORT: &[&str] = &["port", "ports", "port_expose", "port_in"];
