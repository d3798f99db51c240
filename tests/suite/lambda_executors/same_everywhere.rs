//! One Executor behind gRPC, as a Lambda function and in the Gateway's process: its results, its errors and what its handlers
//! know of a request are the same.

use bytes::Bytes;
use executor_fn::{Error, Executor, Reply, Request};
use flowgate_config::Protocol;
use flowgate_tests::{
    client::{HttpResponse, http},
    flow::{ServedExecutor, ServedGateway},
    lambda_api::LambdaApi,
};
use gateway::gateway::Registry;
use serde_json::{Value, json};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// An Executor that returns what its handler knows of a request, and fails in two ways.
fn reporting() -> Executor {
    Executor::new("Class")
        .on("/report", async |request: Request| {
            let context = request.context();
            let report = json!({
                "traceparent": context.metadata("traceparent"),
                "x-team": context.metadata("x-team"),
                "is_function": context.lambda().is_some(),
            });
            Ok(Reply::results(executor_fn::struct_from_json(report)?))
        })
        .on("/panic", async |request: Request| {
            assert!(request.documents().is_empty(), "dropped it");
            Ok(Reply::unchanged())
        })
        .on("/error", async |_: Request| {
            Err::<Reply, _>(Error::value_error("dropped it"))
        })
}

/// The Flow's Executors, each alone, so that one that fails does not keep others from being called.
async fn with_each(check: impl AsyncFn(&ServedGateway, &str)) {
    let (api, grpc) = (
        LambdaApi::start().await,
        ServedExecutor::start(reporting(), "served").await,
    );
    api.serve("f", reporting());
    let port = grpc.port();
    for (node, address) in [
        (
            "served",
            format!("external: true, host: localhost, port: {port}"),
        ),
        ("invoked", "host: 'lambda://f'".to_owned()),
        ("inside", "uses: 'inproc://class'".to_owned()),
    ] {
        let metadata = "grpc_metadata: {x-team: search}";
        let executors = format!("  - {{name: {node}, {address}, {metadata}}}\n");
        let gateway = served(&api, &executors).await;
        check(&gateway, node).await;
        gateway.stop().await;
    }
    grpc.stop().await;
    api.stop().await;
}

async fn served(api: &LambdaApi, executors: &str) -> ServedGateway {
    let registry = Registry::default().with("class", reporting);
    let setting = api.invoke_setting(", warm_up: none");
    let yaml = format!(
        "jtype: Flow\ngateway: {{protocol: [grpc, http], port: [0, 0], {setting}}}\nexecutors:\n{executors}"
    );
    ServedGateway::start_with(&yaml, &registry).await
}

async fn post_to(gateway: &ServedGateway, endpoint: &str) -> HttpResponse {
    let url = format!("http://{}/post", gateway.authority(Protocol::Http));
    let body = json!({"data": [{"text": "x"}], "execEndpoint": endpoint}).to_string();
    let request = http::Request::post(url)
        .header("content-type", "application/json")
        .header("traceparent", PARENT)
        .body(Bytes::from(body));
    http(request.expect("a request")).await
}

#[tokio::test]
async fn results_have_the_name_in_the_flow_and_handlers_see_what_the_gateway_passes_on() {
    with_each(async |gateway, node| {
        let response = post_to(gateway, "/report").await;
        assert_eq!(response.status, 200, "{node}: {:?}", response.body);
        let report = response.json()["parameters"]["__results__"].clone();
        let expected = json!({
            "traceparent": PARENT,
            "x-team": "search",
            "is_function": false,
        });
        assert_eq!(report, json!({format!("{node}/rep-0"): expected}), "{node}");
        let routes = response.json()["routes"].clone();
        assert_eq!(routes[1]["executor"], node, "{routes}");
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_the_requests_error_and_the_response_is_200() {
    with_each(async |gateway, node| {
        for (endpoint, name) in [("/panic", "Panic"), ("/error", "ValueError")] {
            let response = post_to(gateway, endpoint).await;
            assert_eq!(response.status, 200, "{node}: {:?}", response.body);
            let status: Value = response.json()["header"]["status"].clone();
            assert_eq!(status["code"], 1, "{node}: {status}");
            assert_eq!(status["exception"]["name"], name, "{node}: {status}");
            assert_eq!(status["exception"]["executor"], "Class", "{node}: {status}");
            let description = status["description"].as_str().expect("a text");
            assert!(description.contains("dropped it"), "{node}: {status}");
        }
    })
    .await;
}
