//! A Gateway's settings -> its HTTP routes, each with what `/openapi.json` says of it, in the order in
//! which Jina 3.13 registers them.

use flowgate_config::{ExposedEndpoint, HttpConfig};
use http::Method;

use super::{
    docs::{Asset, Page, Scripts},
    path::Path,
};

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) path: Path,
    pub(super) methods: Vec<Method>,
    pub(super) action: Action,
    /// `None` keeps the route out of `/openapi.json`.
    pub(super) operation: Option<Operation>,
}

/// What a route does.
#[derive(Debug)]
pub(super) enum Action {
    Health,
    DryRun,
    Status,
    Data(Endpoint),
    OpenApi,
    Page(Page),
    Asset(&'static Asset),
}

/// Where the exec endpoint of a data request comes from.
#[derive(Debug)]
pub(super) enum Endpoint {
    InBody,
    Fixed(String),
}

/// What `/openapi.json` says of a route.
#[derive(Debug, Default)]
pub(super) struct Operation {
    /// The name of the Python function behind the route in Jina 3.13, from which the operationId is made.
    pub(super) name: String,
    pub(super) summary: String,
    pub(super) description: Option<String>,
    pub(super) tags: Vec<String>,
    /// The schema of the request's body.
    pub(super) body: Option<&'static str>,
    /// The schema of the answer; without one, it can be anything.
    pub(super) answer: Option<&'static str>,
}

/// The routes of the HTTP port.
pub(super) fn gateway(config: &HttpConfig, scripts: Scripts) -> Vec<Route> {
    let mut routes = documentation(scripts);
    if config.debug_endpoints {
        routes.extend([
            dry_run("_flow_health"),
            status(&["Debug"], Some("JinaInfoModel")),
            post(),
        ]);
    }
    if config.crud_endpoints {
        routes.extend([
            crud(Method::POST, "/index"),
            crud(Method::POST, "/search"),
            crud(Method::DELETE, "/delete"),
            crud(Method::PUT, "/update"),
        ]);
    }
    routes.extend(config.exposed.iter().map(exposed));
    routes.push(health(
        "_gateway_health",
        "Jina Gateway",
        Some("JinaHealthModel"),
    ));
    routes
}

/// The plain HTTP routes of the WebSocket port.
pub(super) fn debug(scripts: Scripts) -> Vec<Route> {
    let mut routes = documentation(scripts);
    routes.extend([
        health("_health", "Jina", None),
        status(&[], None),
        dry_run("_dry_run_http"),
    ]);
    routes
}

fn documentation(scripts: Scripts) -> Vec<Route> {
    let plain = |path, action| Route {
        path: Path::new(path),
        methods: vec![Method::GET, Method::HEAD],
        action,
        operation: None,
    };
    let mut routes = vec![
        plain("/openapi.json", Action::OpenApi),
        plain("/docs", Action::Page(Page::SwaggerUi)),
        plain("/docs/oauth2-redirect", Action::Page(Page::OAuth2Redirect)),
        plain("/redoc", Action::Page(Page::Redoc)),
    ];
    routes.extend(
        scripts
            .assets()
            .iter()
            .map(|asset| plain(asset.path(), Action::Asset(asset))),
    );
    routes
}

fn route(method: Method, path: &str, action: Action, operation: Operation) -> Route {
    Route {
        path: Path::new(path),
        methods: vec![method],
        action,
        operation: Some(operation),
    }
}

fn health(name: &str, of: &str, answer: Option<&'static str>) -> Route {
    let operation = Operation {
        name: name.to_owned(),
        summary: format!("Get the health of {of} service"),
        description: Some(format!(
            "Get the health of this {} service.",
            of.trim_start_matches("Jina ")
        )),
        answer,
        ..Operation::default()
    };
    route(Method::GET, "/", Action::Health, operation)
}

fn dry_run(name: &str) -> Route {
    let summary = "Get the readiness of Jina Flow service, sends an empty DocumentArray to the complete Flow to \
                   validate connectivity";
    let operation = Operation {
        name: name.to_owned(),
        summary: summary.to_owned(),
        description: Some("Get the health of the complete Flow service.".to_owned()),
        answer: Some("StatusProto"),
        ..Operation::default()
    };
    route(Method::GET, "/dry_run", Action::DryRun, operation)
}

fn status(tags: &[&str], answer: Option<&'static str>) -> Route {
    let description = "Get the status of this Jina service.\n\n\
                       This is equivalent to running `jina -vf` from command line.";
    let operation = Operation {
        name: "_status".to_owned(),
        summary: "Get the status of Jina service".to_owned(),
        description: Some(description.to_owned()),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        body: None,
        answer,
    };
    route(Method::GET, "/status", Action::Status, operation)
}

fn post() -> Route {
    let description = "Post a data request to some endpoint.\n\nThis is equivalent to the following:\n\n    \
                       from jina import Flow\n\n    f = Flow().add(...)\n\n    with f:\n        \
                       f.post(endpoint, ...)";
    let operation = Operation {
        name: "post".to_owned(),
        summary: "Post a data request to some endpoint".to_owned(),
        description: Some(description.to_owned()),
        tags: vec!["Debug".to_owned()],
        body: Some("JinaEndpointRequestModel"),
        answer: Some("JinaResponseModel"),
    };
    route(
        Method::POST,
        "/post",
        Action::Data(Endpoint::InBody),
        operation,
    )
}

fn crud(method: Method, path: &str) -> Route {
    let description = format!(
        "Post data requests to the Flow. Executors with `@requests(on=\"{path}\")` will respond."
    );
    let operation = Operation {
        description: Some(description),
        tags: vec!["CRUD".to_owned()],
        ..fixed(path)
    };
    route(
        method,
        path,
        Action::Data(Endpoint::Fixed(path.to_owned())),
        operation,
    )
}

fn exposed(endpoint: &ExposedEndpoint) -> Route {
    let path = &endpoint.http_path;
    let by_default = fixed(path);
    let operation = Operation {
        summary: endpoint.summary.clone().unwrap_or(by_default.summary),
        tags: endpoint.tags.clone(),
        ..by_default
    };
    let methods = endpoint.methods.iter();
    Route {
        path: Path::new(path),
        methods: methods.filter_map(|method| method.parse().ok()).collect(),
        action: Action::Data(Endpoint::Fixed(endpoint.exec_endpoint.clone())),
        operation: Some(operation),
    }
}

/// A route to one exec endpoint, which has no Python function of its own and goes by its path.
fn fixed(path: &str) -> Operation {
    Operation {
        name: path.to_owned(),
        summary: title_case(&path.replace('_', " ")),
        body: Some("JinaRequestModel"),
        answer: Some("JinaResponseModel"),
        ..Operation::default()
    }
}

/// Python's `str.title`: a letter is upper-case when none stands before it.
pub(super) fn title_case(text: &str) -> String {
    let mut title = String::with_capacity(text.len());
    let mut in_word = false;
    for letter in text.chars() {
        if in_word {
            title.extend(letter.to_lowercase());
        } else {
            title.extend(letter.to_uppercase());
        }
        in_word = letter.is_alphabetic();
    }
    title
}
