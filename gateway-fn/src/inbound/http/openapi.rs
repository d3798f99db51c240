//! The table of routes -> `/openapi.json`, as FastAPI 0.88 writes it for the same routes.

mod schemas;

use std::collections::BTreeMap;

use bytes::Bytes;
use flowgate_config::HttpConfig;
use http::Method;
use serde_json::{Map, Value, json};

use super::routes::{Operation, Route};

/// What heads the document.
#[derive(Debug)]
pub(super) struct About {
    pub(super) title: String,
    description: Option<String>,
    version: Version,
    tags: Vec<(&'static str, &'static str)>,
}

#[derive(Debug)]
enum Version {
    /// That of the Jina that the Gateway reports at `/status`.
    Jina,
    Fixed(&'static str),
}

const DESCRIPTION: &str = "This is my awesome service. You can set `title` and `description` in your `Flow` or \
                           `Gateway` to customize the title and description.";
const DEBUG: (&str, &str) = (
    "Debug",
    "Debugging interface. In production, you should hide them by setting `--no-debug-endpoints` in \
     `Flow`/`Gateway`.",
);
const CRUD: (&str, &str) = (
    "CRUD",
    "CRUD interface. If your service does not implement those interfaces, you can should hide them by setting \
     `--no-crud-endpoints` in `Flow`/`Gateway`.",
);

impl About {
    /// The head of the HTTP port's document.
    pub(super) fn gateway(config: &HttpConfig) -> Self {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let tags = [
            (config.debug_endpoints, DEBUG),
            (config.crud_endpoints, CRUD),
        ];
        Self {
            title: given(&config.title).unwrap_or_else(|| "My Jina Service".to_owned()),
            description: given(&config.description).or_else(|| Some(DESCRIPTION.to_owned())),
            version: Version::Jina,
            tags: tags
                .into_iter()
                .filter(|(on, _)| *on)
                .map(|(_, tag)| tag)
                .collect(),
        }
    }

    /// The head of the WebSocket port's document: FastAPI's defaults, which Jina 3.13 leaves as they are.
    pub(super) fn debug() -> Self {
        Self {
            title: "FastAPI".to_owned(),
            description: None,
            version: Version::Fixed("0.1.0"),
            tags: Vec::new(),
        }
    }
}

/// The document as JSON; `jina` is the version of Jina that the Gateway reports.
pub(super) fn write(about: &About, jina: Option<String>, routes: &[Route]) -> Bytes {
    let mut info = json!({ "title": about.title });
    if let Some(description) = &about.description {
        info["description"] = description.as_str().into();
    }
    info["version"] = match about.version {
        Version::Jina => jina.unwrap_or_default().into(),
        Version::Fixed(version) => version.into(),
    };
    let mut document = json!({ "openapi": "3.0.2", "info": info, "paths": paths(routes) });
    let schemas = schemas::of(routes.iter().filter_map(|route| route.operation.as_ref()));
    if !schemas.is_empty() {
        document["components"] = json!({ "schemas": schemas });
    }
    if !about.tags.is_empty() {
        let tag = |&(name, description)| json!({ "name": name, "description": description });
        document["tags"] = about.tags.iter().map(tag).collect();
    }
    document.to_string().into()
}

fn paths(routes: &[Route]) -> Map<String, Value> {
    let mut paths = Map::new();
    // The first of two routes with one path and method is the one that answers, so it is the one described.
    for (route, operation) in routes
        .iter()
        .filter_map(|route| Some((route, route.operation.as_ref()?)))
    {
        let path = paths
            .entry(route.path.template())
            .or_insert_with(|| json!({}));
        for method in &route.methods {
            let key = method.as_str().to_ascii_lowercase();
            if path.get(&key).is_none() {
                path[key] = describe(route, operation, method);
            }
        }
    }
    paths
}

fn describe(route: &Route, operation: &Operation, method: &Method) -> Value {
    let mut described = json!({});
    if !operation.tags.is_empty() {
        described["tags"] = operation.tags.as_slice().into();
    }
    described["summary"] = operation.summary.as_str().into();
    if let Some(description) = &operation.description {
        described["description"] = description.as_str().into();
    }
    described["operationId"] = operation_id(&operation.name, route.path.template(), method).into();
    let mut responses =
        BTreeMap::from([("200", response("Successful Response", operation.answer))]);
    if let Some(body) = operation.body {
        described["requestBody"] = json!({ "content": content(Some(body)), "required": true });
        responses.insert("422", response("Validation Error", Some(schemas::INVALID)));
    }
    described["responses"] = json!(responses);
    described
}

/// FastAPI's rule. For a route with several methods FastAPI takes one of them at random for all; here
/// each operation has its own, because OpenAPI wants ids that differ.
fn operation_id(name: &str, path: &str, method: &Method) -> String {
    let word = |letter: char| {
        if letter.is_alphanumeric() {
            letter
        } else {
            '_'
        }
    };
    let id: String = name.chars().chain(path.chars()).map(word).collect();
    format!("{id}_{}", method.as_str().to_ascii_lowercase())
}

fn response(description: &str, schema: Option<&str>) -> Value {
    json!({ "description": description, "content": content(schema) })
}

fn content(schema: Option<&str>) -> Value {
    let schema = schema.map_or_else(|| json!({}), schemas::reference);
    json!({ "application/json": { "schema": schema } })
}

#[cfg(test)]
mod tests;
