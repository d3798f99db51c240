//! The component schemas of `/openapi.json`, as pydantic 1.10 writes those of Jina's models.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::inbound::http::routes::{Operation, title_case};

/// The schema of a 422 body.
pub(super) const INVALID: &str = "HTTPValidationError";

const PREFIX: &str = "#/components/schemas/";

/// The schemas that operations name, and those that these name.
pub(super) fn of<'a>(operations: impl Iterator<Item = &'a Operation>) -> BTreeMap<String, Value> {
    let mut wanted: Vec<String> = operations
        .flat_map(|operation| {
            [
                operation.body,
                operation.answer,
                operation.body.map(|_| INVALID),
            ]
        })
        .flatten()
        .map(str::to_owned)
        .collect();
    let mut schemas = BTreeMap::new();
    while let Some(name) = wanted.pop() {
        if schemas.contains_key(&name) {
            continue;
        }
        let schema = schema(&name);
        references(&schema, &mut wanted);
        schemas.insert(name, schema);
    }
    schemas
}

/// A schema that stands for the component `name`.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{PREFIX}{name}") })
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            let name = object.get("$ref").and_then(Value::as_str);
            found.extend(
                name.and_then(|name| name.strip_prefix(PREFIX))
                    .map(str::to_owned),
            );
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn schema(name: &str) -> Value {
    match name {
        "ExceptionProto" => exception(),
        "HTTPValidationError" => model(name, [("detail", list(&reference("ValidationError")))]),
        "HeaderProto" => header(),
        "JinaEndpointRequestModel" => endpoint_request(),
        "JinaHealthModel" => health(),
        "JinaInfoModel" => info(),
        "JinaRequestModel" => described(model(name, request_fields()), "Jina HTTP request model."),
        "JinaResponseModel" => response(),
        "PydanticDocument" => document(),
        "RouteProto" => route(),
        "StatusCode" => json!({ "title": name, "enum": [0, 1], "description": "An enumeration." }),
        "StatusProto" => status(),
        "ValidationError" => validation_error(),
        "_NamedScore" => named_score(),
        _ => json!({}),
    }
}

/// A model with these fields; each gets the title that pydantic makes of its name.
fn model<const N: usize>(name: &str, fields: [(&str, Value); N]) -> Value {
    let mut properties = Map::new();
    for (name, schema) in fields {
        properties.insert(name.to_owned(), titled(name, schema));
    }
    json!({ "title": name, "type": "object", "properties": properties })
}

fn titled(name: &str, schema: Value) -> Value {
    let mut schema = match schema {
        Value::Object(schema) if !schema.contains_key("$ref") && !schema.contains_key("allOf") => {
            schema
        }
        other => return other,
    };
    schema.insert(
        "title".to_owned(),
        title_case(&name.replace('_', " ")).into(),
    );
    schema.into()
}

fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}

fn with_default(mut schema: Value, default: Value) -> Value {
    schema["default"] = default;
    schema
}

fn plain(kind: &str) -> Value {
    json!({ "type": kind })
}

fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn map(values: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": values })
}

/// A string of a protobuf message, where absent and empty are the same.
fn proto_string() -> Value {
    with_default(plain("string"), "".into())
}

fn exception() -> Value {
    let strings = || with_default(list(&plain("string")), json!([]));
    model(
        "ExceptionProto",
        [
            ("name", proto_string()),
            ("args", strings()),
            ("stacks", strings()),
            ("executor", proto_string()),
        ],
    )
}

fn header() -> Value {
    model(
        "HeaderProto",
        [
            ("requestId", proto_string()),
            ("status", reference("StatusProto")),
            ("execEndpoint", proto_string()),
            ("targetExecutor", proto_string()),
            ("timeout", with_default(plain("integer"), 0.into())),
        ],
    )
}

fn route() -> Value {
    let time = json!({ "type": "string", "format": "date-time" });
    model(
        "RouteProto",
        [
            ("executor", proto_string()),
            ("startTime", time.clone()),
            ("endTime", time),
            ("status", reference("StatusProto")),
        ],
    )
}

fn status() -> Value {
    let code = json!({ "allOf": [reference("StatusCode")], "default": 0 });
    model(
        "StatusProto",
        [
            ("code", code),
            ("description", proto_string()),
            ("exception", reference("ExceptionProto")),
        ],
    )
}

fn request_fields() -> [(&'static str, Value); 3] {
    let documents = list(&reference("PydanticDocument"));
    let data = json!({
        "anyOf": [documents, map(&documents)],
        "description": "Data to send, a list of dict/string/bytes that can be converted into a list of `Document` \
                        objects",
        "example": [{ "text": "hello, world!" }, { "uri": "https://docs.jina.ai/_static/logo-light.svg" }],
    });
    let target_executor = json!({
        "type": "string",
        "description": "A regex string representing the specific pods/deployments targeted by the request.",
        "example": "",
    });
    let parameters = json!({
        "type": "object",
        "description": "A dictionary of parameters to be sent to the executor.",
        "example": {},
    });
    [
        ("data", data),
        ("targetExecutor", target_executor),
        ("parameters", parameters),
    ]
}

fn endpoint_request() -> Value {
    let exec_endpoint = json!({
        "type": "string",
        "description": "The endpoint string, by convention starts with `/`. If you specify it as `/foo`, then all \
                        executors bind with `@requests(on=\"/foo\")` will receive the request.",
        "default": "/",
        "example": "/",
    });
    let [data, target_executor, parameters] = request_fields();
    let fields = [
        data,
        target_executor,
        parameters,
        ("execEndpoint", exec_endpoint),
    ];
    described(
        model("JinaEndpointRequestModel", fields),
        "Jina HTTP request model that allows customized endpoint.",
    )
}

fn response() -> Value {
    let fields = [
        ("header", reference("HeaderProto")),
        ("parameters", plain("object")),
        ("routes", list(&reference("RouteProto"))),
        ("data", list(&reference("PydanticDocument"))),
    ];
    described(
        model("JinaResponseModel", fields),
        "Jina HTTP Response model. Only `request_id` and `data` are preserved.",
    )
}

fn health() -> Value {
    let description =
        "Pydantic BaseModel for Jina health check, used as the response model in REST app.";
    described(model("JinaHealthModel", []), description)
}

fn info() -> Value {
    let fields = [("jina", plain("object")), ("envs", plain("object"))];
    let mut schema = model("JinaInfoModel", fields);
    schema["required"] = json!(["jina", "envs"]);
    described(
        schema,
        "Pydantic BaseModel for Jina status, used as the response model in REST app.",
    )
}

fn document() -> Value {
    let (string, number, integer) = (plain("string"), plain("number"), plain("integer"));
    let scores = map(&reference("_NamedScore"));
    let documents = list(&reference("PydanticDocument"));
    model(
        "PydanticDocument",
        [
            ("id", string.clone()),
            ("parent_id", string.clone()),
            ("granularity", integer.clone()),
            ("adjacency", integer),
            ("blob", string.clone()),
            ("tensor", json!({})),
            ("mime_type", string.clone()),
            ("text", string.clone()),
            ("weight", number.clone()),
            ("uri", string.clone()),
            ("tags", tags()),
            ("offset", number.clone()),
            ("location", list(&number)),
            ("embedding", json!({})),
            ("modality", string),
            ("evaluations", scores.clone()),
            ("scores", scores),
            ("chunks", documents.clone()),
            ("matches", documents),
        ],
    )
}

/// A JSON value, two levels deep.
fn tags() -> Value {
    let scalars = ["boolean", "number", "string"].map(plain);
    let mut any = Vec::from(scalars);
    any.extend([list(&json!({})), plain("object")]);
    let nested = json!({ "anyOf": any });
    any.extend([list(&nested), map(&nested)]);
    map(&json!({ "anyOf": any }))
}

fn named_score() -> Value {
    let string = plain("string");
    model(
        "_NamedScore",
        [
            ("value", plain("number")),
            ("op_name", string.clone()),
            ("description", string.clone()),
            ("ref_id", string),
        ],
    )
}

fn validation_error() -> Value {
    let place = json!({ "anyOf": [plain("string"), plain("integer")] });
    json!({
        "title": "ValidationError",
        "required": ["loc", "msg", "type"],
        "type": "object",
        "properties": {
            "loc": { "title": "Location", "type": "array", "items": place },
            "msg": { "title": "Message", "type": "string" },
            "type": { "title": "Error Type", "type": "string" },
        },
    })
}
