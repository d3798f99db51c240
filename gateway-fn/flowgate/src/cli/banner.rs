//! Prints a Gateway's graph, its endpoints and a `curl` command to try when it has started.

use std::{fmt::Write as _, net::SocketAddr};

use flowgate_config::{AuthConfig, Config, HttpConfig, Protocol};

use crate::container::Container;

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
    let http = endpoints
        .iter()
        .find(|(protocol, _)| *protocol == Protocol::Http);
    if let Some((_, address)) = http
        && let Some(curl) = curl_command(&url(Protocol::Http, tls, *address), &config.gateway.http)
    {
        let credential = credential_header(&config.gateway.auth);
        let _ = write!(text, "\nTry it:\n  {curl}{credential}\n");
    }
    text.push('\n');
    text
}

/// Returns a command that calls one of the Gateway's data routes, or `None` if no route's path can be typed without
/// quoting.
fn curl_command(url: &str, http: &HttpConfig) -> Option<String> {
    let data = "\"data\":[{\"text\":\"hello\"}]";
    let header = "-H 'content-type: application/json'";
    if http.debug_endpoints {
        let body = format!("{{{data},\"execEndpoint\":\"/\"}}");
        return Some(format!("curl -s {url}/post {header} -d '{body}'"));
    }
    let (path, method) = if http.crud_endpoints {
        ("/search", "POST")
    } else {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte);
        let exposed = http
            .exposed
            .iter()
            .find(|exposed| exposed.http_path.bytes().all(is_plain))?;
        (
            exposed.http_path.as_str(),
            exposed.methods.first()?.as_str(),
        )
    };
    let method = match method {
        "POST" => String::new(),
        method => format!(" -X {method}"),
    };
    Some(format!(
        "curl -s{method} {url}{path} {header} -d '{{{data}}}'"
    ))
}

/// The header that authenticates the call, with a placeholder for the secret.
fn credential_header(auth: &AuthConfig) -> String {
    if !auth.protocols.contains(&Protocol::Http) || !auth.is_enabled() {
        return String::new();
    }
    match auth.api_keys.is_empty() {
        true => " -H 'authorization: Bearer TOKEN'".to_owned(),
        false => format!(" -H '{}: KEY'", auth.api_key_header),
    }
}

/// Describes the graph in one line: each Executor and what it needs.
pub(super) fn graph(config: &Config) -> String {
    let nodes: Vec<_> = config
        .graph
        .nodes()
        .map(|(_, node)| {
            let needs = node
                .needs
                .iter()
                .map(|need| need.map_or("gateway", |id| config.graph[id].name.as_str()));
            let floats = if node.is_awaited { "" } else { " (floating)" };
            format!(
                "{} -> {}{floats}",
                needs.collect::<Vec<_>>().join("+"),
                node.name
            )
        })
        .collect();
    match nodes.is_empty() {
        true => "no executors, so every request is returned unchanged".to_owned(),
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

pub(super) fn url(protocol: Protocol, tls: bool, address: SocketAddr) -> String {
    let scheme = match (protocol, tls) {
        (Protocol::Grpc, false) => "grpc",
        (Protocol::Grpc, true) => "grpcs",
        (Protocol::Http, false) => "http",
        (Protocol::Http, true) => "https",
        (Protocol::WebSocket, false) => "ws",
        (Protocol::WebSocket, true) => "wss",
    };
    // 0.0.0.0 and [::] mean every interface; clients cannot call them.
    match address.ip().is_unspecified() {
        true => format!("{scheme}://localhost:{}", address.port()),
        false => format!("{scheme}://{address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner(gateway: &str) -> String {
        let yaml = format!("jtype: Flow\ngateway: {{protocol: http, port: 1, {gateway}}}\n");
        let loaded = Config::from_yaml(&yaml, "flow.yml", &|_| None).expect("a valid Flow");
        text(
            &loaded.config,
            &[(Protocol::Http, ([127, 0, 0, 1], 8080).into())],
        )
    }

    #[test]
    fn the_command_to_try_calls_a_route_that_exists() {
        let expose = "expose_endpoints: {/a: {http_path: '/{x}'}, /b: {methods: [PUT]}}";
        for (gateway, command) in [
            ("", "curl -s http://127.0.0.1:8080/post -H"),
            (
                "no_debug_endpoints: true",
                "curl -s http://127.0.0.1:8080/search -H",
            ),
            (
                &format!("no_debug_endpoints: true, no_crud_endpoints: true, {expose}"),
                "curl -s -X PUT http://127.0.0.1:8080/b -H",
            ),
        ] {
            assert!(banner(gateway).contains(command), "{}", banner(gateway));
        }
        let key = banner("auth: {api_keys: [{name: a, key: 0123456789abcdef-x}]}");
        assert!(key.contains("}' -H 'x-api-key: KEY'\n"), "{key}");
        let bare = banner("no_debug_endpoints: true, no_crud_endpoints: true");
        assert!(!bare.contains("curl"), "{bare}");
    }
}
