//! What a Gateway says when it is up: its graph, where it listens, and one line to try.

use std::{fmt::Write as _, net::SocketAddr};

use crate::{
    config::{Config, Protocol},
    host::container::Container,
};

#[expect(
    clippy::print_stdout,
    reason = "the endpoints are for the person who started the Gateway"
)]
pub(super) fn print(config: &Config, container: &Container) {
    let endpoints: Vec<_> = container.endpoints().collect();
    print!("{}", text(config, &endpoints));
}

fn text(config: &Config, endpoints: &[(Protocol, SocketAddr)]) -> String {
    let name = config.name.as_deref().unwrap_or("Flow");
    let mut text = format!(
        "Flowgate {} serves {name}: {}\n\n",
        env!("CARGO_PKG_VERSION"),
        graph(config)
    );
    let tls = config.gateway.tls.is_some();
    for (protocol, address) in endpoints {
        let url = url(*protocol, tls, *address);
        let docs = if *protocol == Protocol::Http {
            format!("   docs: {url}/docs")
        } else {
            String::new()
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:<10} {url}{docs}", label(*protocol));
    }
    if let Some((_, address)) = endpoints
        .iter()
        .find(|(protocol, _)| *protocol == Protocol::Http)
    {
        let url = url(Protocol::Http, tls, *address);
        let _ = write!(
            text,
            "\nTry it:\n  curl -s {url}/post -H 'content-type: application/json' -d '{{\"data\":[{{\"text\":\"hello\"}}],\
             \"execEndpoint\":\"/\"}}'\n"
        );
    }
    text.push('\n');
    text
}

/// The graph in one line: each Executor with what it needs.
pub(super) fn graph(config: &Config) -> String {
    let nodes: Vec<_> = config
        .graph
        .nodes()
        .map(|(_, node)| {
            let needs = node
                .needs
                .iter()
                .map(|need| need.map_or("gateway", |id| config.graph[id].name.as_str()));
            let floats = if node.awaited { "" } else { " (floating)" };
            format!(
                "{} -> {}{floats}",
                needs.collect::<Vec<_>>().join("+"),
                node.name
            )
        })
        .collect();
    match nodes.is_empty() {
        true => "no executors, every request comes straight back".to_owned(),
        false => nodes.join(", "),
    }
}

const fn label(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Grpc => "gRPC",
        Protocol::Http => "HTTP",
        Protocol::WebSocket => "WebSocket",
    }
}

fn url(protocol: Protocol, tls: bool, address: SocketAddr) -> String {
    let scheme = match (protocol, tls) {
        (Protocol::Grpc, false) => "grpc",
        (Protocol::Grpc, true) => "grpcs",
        (Protocol::Http, false) => "http",
        (Protocol::Http, true) => "https",
        (Protocol::WebSocket, false) => "ws",
        (Protocol::WebSocket, true) => "wss",
    };
    // An address that means every interface is no address to call.
    match address.ip().is_unspecified() {
        true => format!("{scheme}://localhost:{}", address.port()),
        false => format!("{scheme}://{address}"),
    }
}
