//! Writes `/openapi.json` for a table of routes, as FastAPI 0.88 writes it for the same routes.

use std::collections::BTreeMap;

use bytes::Bytes;
use flowgate_config::HttpConfig;
use http::Method;
use serde_json::{Map, Value, json};

use super::routes::{Operation, Route};

/// The title, description, version and tags of a document.
#[derive(Debug)]
pub(super) struct ApiInfo {
    pub(super) title: String,
    description: Option<String>,
    version: Version,
    tags: Vec<(&'static str, &'static str)>,
}

#[derive(Debug)]
enum Version {
    /// The version of Jina that the Gateway reports at `/status`.
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

impl ApiInfo {
    /// Describes the HTTP port.
    pub(super) fn http_port(config: &HttpConfig) -> Self {
        let non_empty = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let tags = [
            (config.debug_endpoints, DEBUG),
            (config.crud_endpoints, CRUD),
        ];
        Self {
            title: non_empty(&config.title).unwrap_or_else(|| "My Jina Service".to_owned()),
            description: non_empty(&config.description).or_else(|| Some(DESCRIPTION.to_owned())),
            version: Version::Jina,
            tags: tags
                .into_iter()
                .filter(|(is_served, _)| *is_served)
                .map(|(_, tag)| tag)
                .collect(),
        }
    }

    /// Describes the WebSocket port: FastAPI's defaults, which Jina 3.13 does not change for that port.
    pub(super) fn websocket_port() -> Self {
        Self {
            title: "FastAPI".to_owned(),
            description: None,
            version: Version::Fixed("0.1.0"),
            tags: Vec::new(),
        }
    }
}

/// Returns the document as JSON.
pub(super) fn write(info: &ApiInfo, jina_version: Option<String>, routes: &[Route]) -> Bytes {
    let mut head = json!({ "title": info.title });
    if let Some(description) = &info.description {
        head["description"] = description.as_str().into();
    }
    head["version"] = match info.version {
        Version::Jina => jina_version.unwrap_or_default().into(),
        Version::Fixed(version) => version.into(),
    };
    let mut document = json!({ "openapi": "3.0.2", "info": head, "paths": paths(routes) });
    let schemas = schemas(routes.iter().filter_map(|route| route.operation.as_ref()));
    if !schemas.is_empty() {
        document["components"] = json!({ "schemas": schemas });
    }
    if !info.tags.is_empty() {
        let tag = |&(name, description)| json!({ "name": name, "description": description });
        document["tags"] = info.tags.iter().map(tag).collect();
    }
    document.to_string().into()
}

fn paths(routes: &[Route]) -> Map<String, Value> {
    let mut paths = Map::new();
    for (route, operation) in routes
        .iter()
        .filter_map(|route| Some((route, route.operation.as_ref()?)))
    {
        let path = paths
            .entry(route.path.template())
            .or_insert_with(|| json!({}));
        for method in &route.methods {
            let key = method.as_str().to_ascii_lowercase();
            // Of two routes with the same path and method the first one answers, so only that one is described.
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
    let mut responses = BTreeMap::from([(
        "200",
        response("Successful Response", operation.response_schema),
    )]);
    if let Some(schema) = operation.body_schema {
        described["requestBody"] = json!({ "content": content(Some(schema)), "required": true });
        responses.insert(
            "422",
            response("Validation Error", Some(VALIDATION_ERROR_SCHEMA)),
        );
    }
    described["responses"] = json!(responses);
    described
}

/// Builds an operation's id by FastAPI's rule. For a route with several methods FastAPI uses the id of a random method
/// for all of them; in this description each operation has its own id, because OpenAPI requires unique ids.
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
    let schema = schema.map_or_else(
        || json!({}),
        |name| json!({ "$ref": format!("{SCHEMA_PREFIX}{name}") }),
    );
    json!({ "application/json": { "schema": schema } })
}

/// Jina's models as pydantic 1.10 describes them: the `components` of Jina 3.13.2's document, one model a line.
const SCHEMAS: &str = include_str!("openapi/schemas.json");

const SCHEMA_PREFIX: &str = "#/components/schemas/";

/// The schema of a 422 answer's body.
const VALIDATION_ERROR_SCHEMA: &str = "HTTPValidationError";

/// Returns the schemas that the operations refer to, directly or through another schema.
fn schemas<'a>(operations: impl Iterator<Item = &'a Operation>) -> BTreeMap<String, Value> {
    let mut unused: BTreeMap<String, Value> =
        serde_json::from_str(SCHEMAS).expect("the embedded schemas are JSON");
    let mut names: Vec<String> = operations
        .flat_map(|operation| {
            [
                operation.body_schema,
                operation.response_schema,
                operation.body_schema.map(|_| VALIDATION_ERROR_SCHEMA),
            ]
        })
        .flatten()
        .map(str::to_owned)
        .collect();
    let mut used = BTreeMap::new();
    while let Some(name) = names.pop() {
        if let Some(schema) = unused.remove(&name) {
            collect_references(&schema, &mut names);
            used.insert(name, schema);
        }
    }
    used
}

fn collect_references(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            let name = object.get("$ref").and_then(Value::as_str);
            let name = name.and_then(|name| name.strip_prefix(SCHEMA_PREFIX));
            names.extend(name.map(str::to_owned));
            object
                .values()
                .for_each(|value| collect_references(value, names));
        }
        Value::Array(list) => list
            .iter()
            .for_each(|value| collect_references(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests;
