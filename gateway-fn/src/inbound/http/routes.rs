//! Builds the HTTP routes of a Gateway from its settings, in the order in which Jina 3.13 registers them, each with its
//! description for `/openapi.json`.

use std::sync::Arc;

use flowgate_config::{ExposedEndpoint, HttpConfig};
use http::Method;

use super::{
    docs::{Asset, Page, Scripts},
    path::PathTemplate,
};

/// A route of the HTTP protocol.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) path: PathTemplate,
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
    Data(ExecEndpoint),
    OpenApi,
    Page(Page),
    Asset(&'static Asset),
}

/// Where the exec endpoint of a data request comes from.
#[derive(Clone, Debug)]
pub(super) enum ExecEndpoint {
    FromBody,
    Fixed(Arc<str>),
}

/// The description of a route in `/openapi.json`.
#[derive(Debug, Default)]
pub(super) struct Operation {
    /// The name of the route's Python function in Jina 3.13, from which FastAPI makes the operationId.
    pub(super) name: String,
    pub(super) summary: String,
    pub(super) description: Option<String>,
    pub(super) tags: Vec<String>,
    /// The name of the schema of the request's body.
    pub(super) body_schema: Option<&'static str>,
    /// The name of the schema of the response; `None` allows any JSON.
    pub(super) response_schema: Option<&'static str>,
}

/// Returns the routes of the HTTP port.
pub(super) fn http_port(config: &HttpConfig, scripts: Scripts) -> Vec<Route> {
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

/// Returns the plain HTTP routes of the WebSocket port.
pub(super) fn websocket_port(scripts: Scripts) -> Vec<Route> {
    let mut routes = documentation(scripts);
    routes.extend([
        health("_health", "Jina", None),
        status(&[], None),
        dry_run("_dry_run_http"),
    ]);
    routes
}

fn documentation(scripts: Scripts) -> Vec<Route> {
    let undocumented = |path, action| Route {
        path: PathTemplate::new(path),
        methods: vec![Method::GET, Method::HEAD],
        action,
        operation: None,
    };
    let mut routes = vec![
        undocumented("/openapi.json", Action::OpenApi),
        undocumented("/docs", Action::Page(Page::SwaggerUi)),
        undocumented("/docs/oauth2-redirect", Action::Page(Page::OAuth2Redirect)),
        undocumented("/redoc", Action::Page(Page::Redoc)),
    ];
    routes.extend(
        scripts
            .assets()
            .iter()
            .map(|asset| undocumented(asset.path(), Action::Asset(asset))),
    );
    routes
}

fn route(method: Method, path: &str, action: Action, operation: Operation) -> Route {
    Route {
        path: PathTemplate::new(path),
        methods: vec![method],
        action,
        operation: Some(operation),
    }
}

fn health(name: &str, service: &str, response_schema: Option<&'static str>) -> Route {
    let operation = Operation {
        name: name.to_owned(),
        summary: format!("Get the health of {service} service"),
        description: Some(format!(
            "Get the health of this {} service.",
            service.trim_start_matches("Jina ")
        )),
        response_schema,
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
        response_schema: Some("StatusProto"),
        ..Operation::default()
    };
    route(Method::GET, "/dry_run", Action::DryRun, operation)
}

fn status(tags: &[&str], response_schema: Option<&'static str>) -> Route {
    let description = "Get the status of this Jina service.\n\n\
                       This is equivalent to running `jina -vf` from command line.";
    let operation = Operation {
        name: "_status".to_owned(),
        summary: "Get the status of Jina service".to_owned(),
        description: Some(description.to_owned()),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        body_schema: None,
        response_schema,
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
        body_schema: Some("JinaEndpointRequestModel"),
        response_schema: Some("JinaResponseModel"),
    };
    route(
        Method::POST,
        "/post",
        Action::Data(ExecEndpoint::FromBody),
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
        ..data_operation(path)
    };
    route(
        method,
        path,
        Action::Data(ExecEndpoint::Fixed(path.into())),
        operation,
    )
}

fn exposed(endpoint: &ExposedEndpoint) -> Route {
    let path = &endpoint.http_path;
    let default = data_operation(path);
    let operation = Operation {
        summary: endpoint.summary.clone().unwrap_or(default.summary),
        tags: endpoint.tags.clone(),
        ..default
    };
    let methods = endpoint.methods.iter();
    Route {
        path: PathTemplate::new(path),
        methods: methods.filter_map(|method| method.parse().ok()).collect(),
        action: Action::Data(ExecEndpoint::Fixed(endpoint.exec_endpoint.as_str().into())),
        operation: Some(operation),
    }
}

/// Describes a route to a fixed exec endpoint, which Jina registers with its path as its name.
fn data_operation(path: &str) -> Operation {
    Operation {
        name: path.to_owned(),
        summary: title_case(&path.replace('_', " ")),
        body_schema: Some("JinaRequestModel"),
        response_schema: Some("JinaResponseModel"),
        ..Operation::default()
    }
}

/// Python's `str.title`: a letter is upper-case unless it follows another letter.
fn title_case(text: &str) -> String {
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
