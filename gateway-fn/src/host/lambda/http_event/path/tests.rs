//! Stages, mappings and routes in all their combinations, and percent-encoding.

use super::*;

#[test]
fn bytes_that_a_uri_does_not_allow_are_escaped() {
    assert_eq!(encode("/a b/%20/ü", Part::Path), "/a%20b/%20/%C3%BC");
    assert_eq!(encode("/100%/%zz/?#", Part::Path), "/100%25/%25zz/%3F%23");
    assert_eq!(encode("a=1&b=%20&c=%", Part::RawQuery), "a=1&b=%20&c=%25");
    assert_eq!(encode("a&b=%20", Part::QueryValue), "a%26b%3D%2520");
}

#[test]
fn a_prefix_ends_with_a_segment() {
    assert_eq!(strip_prefix("/prod/post", "/prod"), Some("/post"));
    assert_eq!(strip_prefix("/prod", "/prod"), Some("/"));
    assert_eq!(strip_prefix("/production", "/prod"), None);
}

/// The kinds of APIs of API Gateway.
const APIS: [EventSource; 3] = [
    EventSource::RestApi,
    EventSource::HttpApiV1,
    EventSource::HttpApi,
];

/// Where the client's request arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Domain {
    Own,
    Custom,
    /// A custom domain with the mapping `v1`.
    Mapped,
    /// `flowgate local`, `cargo lambda watch` and SAM: an address, with paths as of the API's own domain.
    Local,
}

/// Which route of the API matched.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Route {
    /// The route `$default` of an HTTP API.
    CatchAll,
    Proxy,
    Exact,
}

/// What an event says about a request for `path`, as the table above says that API Gateway writes it.
struct EventFields {
    event_path: String,
    context_path: Option<String>,
    template: Option<&'static str>,
    parameters: HashMap<String, String>,
}

fn event_fields(
    api: EventSource,
    stage: &str,
    domain: Domain,
    route: Route,
    path: &str,
) -> EventFields {
    let stage_prefix = match stage {
        "$default" => String::new(),
        stage => format!("/{stage}"),
    };
    let in_front = match (api, domain) {
        (EventSource::HttpApi, _) | (EventSource::HttpApiV1, Domain::Own | Domain::Local) => {
            stage_prefix.as_str()
        }
        (_, Domain::Mapped) => "/v1",
        _ => "",
    };
    let context_prefix = match (api, domain) {
        (EventSource::HttpApi, _) => None,
        (EventSource::RestApi, Domain::Own | Domain::Local) => Some(stage_prefix.as_str()),
        _ => Some(in_front),
    };
    let template = match (route, path) {
        (Route::CatchAll, _) if api == EventSource::HttpApi => None,
        (Route::CatchAll, _) => Some("$default"),
        // `{proxy+}` does not match the root, which needs a route of its own (API Gateway, routes).
        (Route::Proxy | Route::Exact, "/") => Some("/"),
        (Route::Proxy, _) => Some("/{proxy+}"),
        (Route::Exact, _) => Some("/post"),
    };
    let proxy = path.trim_start_matches('/').to_owned();
    EventFields {
        event_path: format!("{in_front}{path}"),
        context_path: context_prefix.map(|prefix| format!("{prefix}{path}")),
        template,
        parameters: match route {
            Route::Proxy if path != "/" => HashMap::from([("proxy".to_owned(), proxy)]),
            _ => HashMap::new(),
        },
    }
}

#[test]
fn every_api_stage_domain_and_route_leads_to_the_path_of_the_request() {
    let mut checked = 0;
    for (api, stage) in APIS.into_iter().flat_map(|api| {
        // A REST API has no stage `$default`.
        let stages = ["prod", "$default"].into_iter();
        let stages = stages.filter(move |stage| api != EventSource::RestApi || *stage == "prod");
        stages.map(move |stage| (api, stage))
    }) {
        for domain in [Domain::Own, Domain::Custom, Domain::Mapped, Domain::Local] {
            for route in [Route::CatchAll, Route::Proxy, Route::Exact] {
                if api == EventSource::RestApi && route == Route::CatchAll {
                    continue;
                }
                // The mapping is in the path of payload version 1.0, and no route says so.
                let base_path = (domain == Domain::Mapped
                    && route == Route::CatchAll
                    && api == EventSource::HttpApiV1)
                    .then_some("/v1");
                for path in ["/post", "/"] {
                    let fields = event_fields(api, stage, domain, route, path);
                    let (found, prefix) = RequestPath {
                        source: api,
                        event_path: &fields.event_path,
                        template: fields.template,
                        parameters: &fields.parameters,
                        stage: Some(stage),
                        domain: Some(match domain {
                            Domain::Own => "id.execute-api.eu-west-1.amazonaws.com",
                            Domain::Custom | Domain::Mapped => "api.example.com",
                            Domain::Local => "127.0.0.1:3000",
                        }),
                        context_path: fields.context_path.as_deref(),
                        base_path,
                    }
                    .split();
                    let case = format!("{api:?} {stage} {domain:?} {route:?} {path}");
                    assert_eq!(found, path, "{case}");
                    let at_front_door = fields.context_path.as_ref().unwrap_or(&fields.event_path);
                    assert_eq!(format!("{prefix}{path}"), *at_front_door, "{case}");
                    checked += 1;
                }
            }
        }
    }
    assert_eq!(checked, 112);
}

/// A request with one stage, `prod`.
fn request<'a>(
    source: EventSource,
    event_path: &'a str,
    parameters: &'a HashMap<String, String>,
) -> RequestPath<'a> {
    RequestPath {
        source,
        event_path,
        template: None,
        parameters,
        stage: Some("prod"),
        domain: None,
        context_path: None,
        base_path: None,
    }
}

fn pair(path: &str, prefix: &str) -> (String, String) {
    (path.to_owned(), prefix.to_owned())
}

#[test]
fn the_setting_removes_what_events_do_not_say() {
    let none = HashMap::new();
    for (source, event_path, expected) in [
        (EventSource::LoadBalancer, "/flow/post", ("/post", "/flow")),
        (EventSource::LoadBalancer, "/flow", ("/", "/flow")),
        (EventSource::LoadBalancer, "/flowers", ("/flowers", "")),
        (EventSource::VpcLatticeV2, "/flow/post", ("/post", "/flow")),
        (
            EventSource::HttpApi,
            "/prod/flow/post",
            ("/post", "/prod/flow"),
        ),
        (EventSource::HttpApi, "/flow/post", ("/post", "/flow")),
        (EventSource::RestApi, "/flow/", ("/", "/flow")),
    ] {
        let path = RequestPath {
            base_path: Some("/flow"),
            ..request(source, event_path, &none)
        };
        assert_eq!(
            path.split(),
            pair(expected.0, expected.1),
            "{source:?} {event_path}"
        );
    }
}

#[test]
fn a_route_is_found_in_encoded_and_in_decoded_paths() {
    let parameters = |value: &str| HashMap::from([("proxy".to_owned(), value.to_owned())]);
    for (event_path, proxy, expected) in [
        ("/v1/a%20b", "a b", ("/a%20b", "/v1")),
        ("/v1/a b", "a%20b", ("/a%20b", "/v1")),
        ("/v1/a%2Fb", "a/b", ("/a%2Fb", "/v1")),
        ("/%76%31/a%2Fb", "a/b", ("/a%2Fb", "/%76%31")),
        ("/v1/%zz", "%25zz", ("/%25zz", "/v1")),
        ("/v1/docs/", "docs", ("/docs/", "/v1")),
        ("/v1/docs/", "docs/", ("/docs/", "/v1")),
        ("/v1/v1", "v1", ("/v1", "/v1")),
        // An event that contradicts itself.
        ("/v1/post", "other", ("/v1/post", "")),
    ] {
        let parameters = parameters(proxy);
        let path = RequestPath {
            template: Some("/{proxy+}"),
            ..request(EventSource::RestApi, event_path, &parameters)
        };
        assert_eq!(
            path.split(),
            pair(expected.0, expected.1),
            "{event_path} {proxy}"
        );
    }
}

#[test]
fn a_stage_named_like_a_route_is_no_part_of_a_custom_domains_path() {
    let none = HashMap::new();
    let split = |domain: &str, event_path: &str| {
        let path = RequestPath {
            domain: Some(domain),
            template: Some("$default"),
            ..request(EventSource::HttpApiV1, event_path, &none)
        };
        path.split()
    };
    let own = "id.execute-api.eu-west-1.amazonaws.com";
    assert_eq!(split(own, "/prod"), pair("/", "/prod"));
    assert_eq!(split("api.example.com", "/prod"), pair("/prod", ""));
    assert_eq!(
        split("api.example.com", "/production"),
        pair("/production", "")
    );
}

/// It would take hours if each segment were compared by itself.
#[test]
fn a_long_path_takes_no_long_time() {
    let event_path = "/%61".repeat(1 << 20);
    let parameters = HashMap::from([("proxy".to_owned(), "/a".repeat(1 << 19)[1..].to_owned())]);
    let path = RequestPath {
        template: Some("/{proxy+}"),
        ..request(EventSource::RestApi, &event_path, &parameters)
    };
    assert_eq!(path.split().0.len(), "/%61".len() << 19);
}
