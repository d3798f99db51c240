//! Compares `/openapi.json` with documents recorded from Jina 3.13.2 (`jina-3.13.2/*.json`).

use flowgate_config::ExposedEndpoint;
use serde_json::Value;

use super::*;
use crate::inbound::http::{docs::Scripts, routes};

const JINA: &str = "3.13.2";

fn config() -> HttpConfig {
    HttpConfig {
        title: None,
        description: None,
        cors: false,
        debug_endpoints: true,
        crud_endpoints: true,
        exposed: Vec::new(),
        graphql: false,
    }
}

fn exposed(exec_endpoint: &str, http_path: &str, methods: &[&str]) -> ExposedEndpoint {
    ExposedEndpoint {
        exec_endpoint: exec_endpoint.to_owned(),
        http_path: http_path.to_owned(),
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        summary: None,
        tags: vec!["Customized".to_owned()],
    }
}

fn written(info: &ApiInfo, routes: &[Route]) -> Value {
    let document = write(info, Some(JINA.to_owned()), routes);
    serde_json::from_slice(&document).expect("JSON")
}

/// The recorded document without the notes for a Python linter at the end of its descriptions.
fn recorded(document: &str) -> Value {
    let mut document: Value = serde_json::from_str(document).expect("JSON");
    let paths = document["paths"].as_object_mut().expect("paths");
    let operations = paths
        .values_mut()
        .flat_map(|path| path.as_object_mut().expect("methods").values_mut());
    for description in operations.filter_map(|operation| operation.get_mut("description")) {
        let text = description.as_str().expect("text");
        *description = text
            .split("\n.. # noqa")
            .next()
            .expect("text")
            .trim_end()
            .into();
    }
    document
}

#[test]
fn every_route_is_described_as_jina_does() {
    let renamed = ExposedEndpoint {
        summary: Some("Does bar".to_owned()),
        tags: vec!["T1".to_owned(), "T2".to_owned()],
        ..exposed("/bar", "/some/bar_x", &["PUT"])
    };
    let config = HttpConfig {
        exposed: vec![
            exposed("/foo", "/foo", &["POST"]),
            renamed,
            exposed("/multi", "/multi", &["GET", "POST"]),
            exposed("/with", "/with/{name:path}/{other}.json", &["POST"]),
        ],
        ..config()
    };
    let mut recorded = recorded(include_str!("jina-3.13.2/openapi.json"));
    // Jina gives both operations the same id.
    recorded["paths"]["/multi"]["post"]["operationId"] = "_multi_multi_post".into();
    assert_eq!(
        written(
            &ApiInfo::http_port(&config),
            &routes::http_port(&config, Scripts::EMBEDDED)
        ),
        recorded
    );
}

#[test]
fn disabled_routes_are_not_described() {
    let config = HttpConfig {
        title: Some("Bare & <b>".to_owned()),
        description: Some("Nothing \"here\"".to_owned()),
        debug_endpoints: false,
        crud_endpoints: false,
        ..config()
    };
    let recorded = recorded(include_str!("jina-3.13.2/openapi-bare.json"));
    assert_eq!(
        written(
            &ApiInfo::http_port(&config),
            &routes::http_port(&config, Scripts::EMBEDDED)
        ),
        recorded
    );
}

#[test]
fn the_websocket_port_has_its_own_description() {
    let recorded = recorded(include_str!("jina-3.13.2/openapi-websocket.json"));
    assert_eq!(
        written(
            &ApiInfo::websocket_port(),
            &routes::websocket_port(Scripts::EMBEDDED)
        ),
        recorded
    );
}

#[test]
fn of_two_routes_with_one_path_and_method_the_one_that_answers_is_described() {
    let config = HttpConfig {
        exposed: vec![exposed("/other", "/index", &["POST", "GET"])],
        ..config()
    };
    let document = written(
        &ApiInfo::http_port(&config),
        &routes::http_port(&config, Scripts::EMBEDDED),
    );
    let index = &document["paths"]["/index"];
    assert_eq!(index["post"]["tags"][0], "CRUD");
    assert_eq!(index["get"]["tags"][0], "Customized");
}
