//! The keys `protocol`, `port` and `uses` of the Gateway -> its listeners.

use super::{Listener, Protocol};
use crate::{
    address,
    diagnostic::{Report, suggestion},
    section::{Commas, Item, Section},
};

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> Vec<Listener> {
    let before = report.error_count();
    let protocols = protocols(section, report);
    let ports = ports(section, report);
    if report.error_count() > before {
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
            "one port for each protocol (repeat a port that protocols share)",
        );
        return Vec::new();
    }
    let listeners: Vec<Listener> = protocols
        .into_iter()
        .zip(ports)
        .map(|(protocol, port)| Listener { protocol, port })
        .collect();
    check_duplicates(&listeners, section, report);
    listeners
}

fn protocols(section: &Section<'_>, report: &mut Report) -> Vec<Protocol> {
    let items = section.items(PROTOCOL, Commas::Split, report);
    let mut protocols: Vec<Protocol> = items
        .iter()
        .filter_map(|item| protocol(item, report))
        .collect();
    if protocols.is_empty() {
        protocols.push(Protocol::Grpc);
    }
    let Some(class) = section.find(&["uses"]) else {
        return protocols;
    };
    match class.node.text().as_deref().map(gateway_class) {
        Some(Some(Class::Single(protocol))) => {
            if items.len() == 1 && protocols != [protocol] {
                report.warn(
                    &class.place,
                    class.node.found(),
                    format!(
                        "the class for the protocol {}; as in Jina `uses` wins",
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
            class.invalid::<()>("no `uses`, or one of Jina's own GRPCGateway, HTTPGateway, WebSocketGateway and CompositeGateway: Python classes are not supported", report);
            protocols
        }
    }
}

fn protocol(item: &Item<'_>, report: &mut Report) -> Option<Protocol> {
    Protocol::from_name(&item.text).or_else(|| {
        let hint = suggestion(
            &item.text.to_ascii_lowercase(),
            ["grpc", "http", "websocket"],
        );
        item.entry.invalid(
            format!(
                "grpc, http or websocket{}",
                if item.entry.node.variables.is_some() {
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
    let items = section.items(PORT, Commas::Split, report);
    let port = |item: &Item<'_>| {
        address::port(&item.text).or_else(|| {
            item.entry
                .invalid("a port from 0 to 65535 (0 chooses a free one)", report)
        })
    };
    items.iter().filter_map(port).collect()
}

/// Rejects the same protocol twice on one port.
fn check_duplicates(listeners: &[Listener], section: &Section<'_>, report: &mut Report) {
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

/// Returns one of Jina's own Gateway classes, which its exports to Kubernetes name in `uses`.
fn gateway_class(class: &str) -> Option<Class> {
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
