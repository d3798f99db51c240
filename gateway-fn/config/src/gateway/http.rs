//! The keys for HTTP -> [`HttpConfig`]: titles, flags, and the routes of `expose_endpoints`.

use super::{ExposedEndpoint, HttpConfig};
use crate::{
    diagnostic::{Place, Report},
    node::{Key, Node, Value},
    section::{Commas, Entry, Layer, Section},
};

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> HttpConfig {
    HttpConfig {
        title: section.text(&["title"], report),
        description: section.text(&["description"], report),
        cors: section.flag(&["cors"], report),
        debug_endpoints: !section.flag(&["no_debug_endpoints"], report),
        crud_endpoints: !section.flag(&["no_crud_endpoints"], report),
        exposed: section
            .find(&["expose_endpoints"])
            .map_or_else(Vec::new, |entry| exposed(&entry, report)),
        graphql: section.flag(&["expose_graphql_endpoint"], report),
    }
}

/// Reads a map, or the text of a JSON object.
fn exposed(entry: &Entry<'_>, report: &mut Report) -> Vec<ExposedEndpoint> {
    let json = entry
        .node
        .text()
        .and_then(|text| serde_json::from_str(&text).ok());
    let value = json.map_or_else(
        || entry.node.value.clone(),
        |json: serde_json::Value| Node::from(json).value,
    );
    let Value::Map(routes) = value else {
        return entry.invalid(EXPECTED_ROUTES, report).unwrap_or_default();
    };
    if entry.node.variables.is_none() {
        return endpoints(&entry.place, &routes, report);
    }
    // Errors would quote parts of the variable's value.
    let mut hidden = Report::new("");
    let exposed = endpoints(&entry.place, &routes, &mut hidden);
    if hidden.error_count() > 0 {
        return entry.invalid(EXPECTED_ROUTES, report).unwrap_or_default();
    }
    exposed
}

fn endpoints(place: &Place, routes: &[(Key, Node)], report: &mut Report) -> Vec<ExposedEndpoint> {
    let mut exposed = Vec::with_capacity(routes.len());
    for (key, node) in routes {
        let place = place.key(&key.text, key.line);
        match &node.value {
            Value::Map(options) => exposed.push(endpoint(&key.text, &place, options, report)),
            Value::Null => exposed.push(endpoint(&key.text, &place, &[], report)),
            _ => report.error(&place, node.found(), "a map of options (`{}` for none)"),
        }
    }
    exposed
}

fn endpoint(
    exec_endpoint: &str,
    place: &Place,
    options: &[(Key, Node)],
    report: &mut Report,
) -> ExposedEndpoint {
    let section = Section::new([Layer::of_file(place.clone(), options)]);
    let http_path = section
        .text(&["http_path"], report)
        .unwrap_or_else(|| exec_endpoint.to_owned());
    if !http_path.starts_with('/') {
        report.error(
            place,
            "a path that does not start with `/`",
            "a path like `/search`",
        );
    }
    let tags = section.items(&["tags"], Commas::Keep, report);
    let endpoint = ExposedEndpoint {
        exec_endpoint: exec_endpoint.to_owned(),
        http_path,
        methods: methods(&section, report),
        summary: section.text(&["summary"], report),
        tags: or_default(
            tags.into_iter().map(|item| item.text).collect(),
            "Customized",
        ),
    };
    let known = section.used_keys();
    for (key, _) in options {
        if !known.contains(&key.normalized().as_str()) {
            report.warn(
                &place.key(&key.text, key.line),
                "an option without effect",
                format!("one of {}", known.join(", ")),
            );
        }
    }
    endpoint
}

fn methods(section: &Section<'_>, report: &mut Report) -> Vec<String> {
    let mut methods = Vec::new();
    for item in section.items(&["methods"], Commas::Split, report) {
        let method = item.text.to_ascii_uppercase();
        if METHODS.contains(&method.as_str()) {
            methods.push(method);
        } else {
            item.entry
                .invalid::<()>(format!("one of {}", METHODS.join(", ")), report);
        }
    }
    or_default(methods, "POST")
}

fn or_default(found: Vec<String>, default: &str) -> Vec<String> {
    if found.is_empty() {
        vec![default.to_owned()]
    } else {
        found
    }
}

const EXPECTED_ROUTES: &str = "a map of endpoints to options, or that as JSON";

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
