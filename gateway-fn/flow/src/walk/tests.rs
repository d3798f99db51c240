//! Walks given graphs and checks which nodes run, in which order, and the response to the client.

mod property;

use flowgate_proto::{
    Documents, Kind, Struct, Value,
    docarray::DocumentProto,
    jina::{HeaderProto, StatusProto},
};

use super::*;
use crate::graph::{Edge, NodeSpec};
use prost::Message as _;

fn graph(names: &[&str], edges: &[Edge]) -> Arc<FlowGraph> {
    let nodes = names
        .iter()
        .map(|name| NodeSpec {
            name: (*name).to_owned(),
            filter: None,
            reduce: true,
        })
        .collect();
    Arc::new(FlowGraph::new(nodes, edges).expect("no cycle"))
}

fn between(from: usize, to: usize) -> Edge {
    Edge::Between(NodeId(from), NodeId(to))
}

fn diamond() -> Arc<FlowGraph> {
    let edges = [
        Edge::Start(NodeId(0)),
        between(0, 1),
        between(0, 2),
        between(1, 3),
        between(2, 3),
        Edge::End(NodeId(3)),
    ];
    graph(&["a", "b", "c", "j"], &edges)
}

fn document(id: &str) -> DocumentProto {
    DocumentProto {
        id: id.to_owned(),
        ..Default::default()
    }
}

fn request(endpoint: &str, ids: &[&str]) -> DataRequest {
    DataRequest {
        header: HeaderProto {
            request_id: "r1".to_owned(),
            exec_endpoint: Some(endpoint.to_owned()),
            ..Default::default()
        },
        documents: ids.iter().map(|id| document(id)).collect::<Vec<_>>().into(),
        ..Default::default()
    }
}

fn start(graph: &Arc<FlowGraph>, request: DataRequest) -> Walk {
    let endpoints = Arc::new(KnownEndpoints::new(graph.len()));
    Walk::start(Arc::clone(graph), endpoints, request, at(0)).expect("a valid request")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

/// Runs the walk to its end. Each Executor adds a document named after it. `pick` chooses which call returns next.
fn run(walk: &mut Walk, graph: &FlowGraph, mut pick: impl FnMut(usize) -> usize) -> Vec<NodeId> {
    let mut order = Vec::new();
    let mut in_flight = walk.take_ready();
    while !in_flight.is_empty() {
        let Step { node, mut requests } = in_flight.remove(pick(in_flight.len()));
        order.push(node);
        let mut response = requests.remove(0);
        let mut documents = response.documents.into_vec().expect("documents");
        documents.push(document(&graph[node].name));
        response.documents = documents.into();
        walk.record_response(node, response, false, at(1))
            .expect("a valid response");
        in_flight.extend(walk.take_ready());
    }
    order
}

fn ids(documents: &Documents) -> Vec<String> {
    documents
        .decode()
        .expect("documents")
        .iter()
        .map(|document| document.id.clone())
        .collect()
}

fn route_names(response: &DataRequest) -> Vec<&str> {
    response
        .routes
        .iter()
        .map(|route| route.executor.as_str())
        .collect()
}

fn failed() -> Option<StatusProto> {
    Some(StatusProto {
        code: 1,
        description: "ValueError('boom')".to_owned(),
        exception: None,
    })
}

#[test]
fn a_join_merges_in_the_order_of_needs_whatever_the_timing() {
    let graph = diamond();
    for last in [false, true] {
        let mut walk = start(&graph, request("/x", &["d0"]));
        run(&mut walk, &graph, |count| if last { count - 1 } else { 0 });
        let response = walk.build_response(at(2));
        assert_eq!(ids(&response.documents), ["d0", "a", "b", "c", "j"]);
        assert_eq!(route_names(&response), ["gateway", "a", "b", "j", "c"]);
    }
}

#[test]
fn an_error_in_a_branch_stops_the_join_and_is_returned() {
    let graph = diamond();
    let mut walk = start(&graph, request("/x", &["d0"]));
    let step = walk.take_ready().remove(0);
    walk.record_response(step.node, step.requests[0].clone(), false, at(1))
        .expect("a valid response");
    let branches = walk.take_ready();
    for Step { node, mut requests } in branches {
        let mut response = requests.remove(0);
        let is_error = graph[node].name == "c";
        response.header.status = if is_error { failed() } else { None };
        walk.record_response(node, response, is_error, at(1))
            .expect("a valid response");
    }
    assert!(walk.is_response_ready() && walk.take_ready().is_empty());
    let response = walk.build_response(at(2));
    assert_eq!(response.header.status, failed());
    assert_eq!(route_names(&response), ["gateway", "a", "b", "c"]);
    assert_eq!(response.routes[3].status, failed());
    assert!(response.routes[2].status.is_none());
}

#[test]
fn a_skipped_join_merges_all_its_branches() {
    let graph = diamond();
    let endpoints = Arc::new(KnownEndpoints::new(4));
    endpoints.record(NodeId(3), vec!["/other".to_owned()]);
    let mut walk = Walk::start(Arc::clone(&graph), endpoints, request("/x", &["d0"]), at(0))
        .expect("a valid response");
    run(&mut walk, &graph, |_| 0);
    let response = walk.build_response(at(2));
    assert_eq!(ids(&response.documents), ["d0", "a", "b", "c"]);
    let skipped = response
        .routes
        .iter()
        .find(|route| route.executor == "j")
        .expect("a route");
    assert!(skipped.start_time.is_some() && skipped.end_time.is_none());
}

#[test]
fn a_skipped_join_ignores_a_branch_whose_nodes_were_skipped() {
    let graph = diamond();
    let mut targeted = request("/x", &["d0"]);
    targeted.header.target_executor = Some("^(a|b)$".to_owned());
    let mut walk = start(&graph, targeted);
    run(&mut walk, &graph, |_| 0);
    let response = walk.build_response(at(2));
    assert_eq!(ids(&response.documents), ["d0", "a", "b"]);
}

#[test]
fn consecutive_skipped_joins_ignore_branches_whose_nodes_were_skipped() {
    // a and b meet at j, which meets c at k; only c runs.
    let edges = [
        Edge::Start(NodeId(0)),
        Edge::Start(NodeId(1)),
        Edge::Start(NodeId(2)),
        between(0, 3),
        between(1, 3),
        between(3, 4),
        between(2, 4),
        Edge::End(NodeId(4)),
    ];
    let graph = graph(&["a", "b", "c", "j", "k"], &edges);
    let mut targeted = request("/x", &["d0"]);
    targeted.header.target_executor = Some("^c$".to_owned());
    let mut walk = start(&graph, targeted);
    let Step { node, mut requests } = walk.take_ready().remove(0);
    let mut response = requests.remove(0);
    response.documents = vec![document("only c's")].into();
    walk.record_response(node, response, false, at(1))
        .expect("a valid response");
    assert_eq!(ids(&walk.build_response(at(2)).documents), ["only c's"]);
}

#[test]
fn a_skipped_join_keeps_documents_that_a_condition_removed() {
    let condition = serde_json::json!({"id": {"$eq": "selected"}});
    let filter = Filter::compile(&condition).expect("a condition");
    let node = |name: &str, filter| NodeSpec {
        name: name.to_owned(),
        filter,
        reduce: true,
    };
    let nodes = vec![node("b", Some(filter)), node("j", None)];
    let edges = [
        Edge::Start(NodeId(1)),
        Edge::Start(NodeId(0)),
        between(0, 1),
        Edge::End(NodeId(1)),
    ];
    let graph = Arc::new(FlowGraph::new(nodes, &edges).expect("no cycle"));
    let mut targeted = request("/x", &["removed", "selected"]);
    targeted.header.target_executor = Some("^b$".to_owned());
    let mut walk = start(&graph, targeted);
    run(&mut walk, &graph, |_| 0);
    assert_eq!(
        ids(&walk.build_response(at(2)).documents),
        ["removed", "selected", "b"]
    );
}

#[test]
fn a_document_without_an_id_is_not_duplicated_at_a_join() {
    let graph = diamond();
    let mut walk = start(&graph, request("/x", &["", "d1"]));
    run(&mut walk, &graph, |_| 0);
    assert_eq!(
        ids(&walk.build_response(at(2)).documents).len(),
        6,
        "two, and one of each node"
    );
}

#[test]
fn a_long_chain_of_skipped_nodes_is_bypassed() {
    let names: Vec<String> = (0..1000).map(|index| format!("n{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut edges = vec![Edge::Start(NodeId(0)), Edge::End(NodeId(999))];
    edges.extend((1..1000).map(|to| between(to - 1, to)));
    let graph = graph(&names, &edges);
    let mut targeted = request("/x", &["d0"]);
    targeted.header.target_executor = Some("unknown".to_owned());
    let mut walk = start(&graph, targeted);
    assert!(walk.is_response_ready() && walk.take_ready().is_empty());
    assert_eq!(walk.build_response(at(1)).routes.len(), 1001);
}

#[test]
fn target_executor_skips_other_nodes_and_is_empty_in_the_response() {
    let graph = diamond();
    let mut targeted = request("/x", &["d0"]);
    targeted.header.target_executor = Some("^(a|c)$".to_owned());
    let mut walk = start(&graph, targeted);
    let order = run(&mut walk, &graph, |_| 0);
    assert_eq!(order, [NodeId(0), NodeId(2)]);
    assert_eq!(
        walk.build_response(at(2)).header.target_executor.as_deref(),
        Some("")
    );
}

#[test]
fn the_response_does_not_wait_for_floating_nodes() {
    let edges = [
        Edge::Start(NodeId(0)),
        between(0, 1),
        between(0, 2),
        Edge::End(NodeId(2)),
    ];
    let graph = graph(&["a", "f", "b"], &edges);
    let mut walk = start(&graph, request("/x", &["d0"]));
    let first = walk.take_ready().remove(0);
    walk.record_response(first.node, first.requests[0].clone(), false, at(1))
        .expect("a valid response");
    let steps = walk.take_ready();
    assert_eq!(
        steps.iter().map(|step| step.node).collect::<Vec<_>>(),
        [NodeId(1), NodeId(2)]
    );
    walk.record_response(NodeId(2), steps[1].requests[0].clone(), false, at(1))
        .expect("a valid response");
    assert!(walk.is_response_ready(), "f still runs");
    let response = walk.build_response(at(2));
    assert_eq!(route_names(&response), ["gateway", "a", "f", "b"]);
    assert!(response.routes[2].end_time.is_none());
    walk.record_response(NodeId(1), steps[0].requests[0].clone(), false, at(3))
        .expect("a late response is accepted");
}

#[test]
fn if_all_nodes_float_the_request_is_returned_at_once() {
    let graph = graph(&["f"], &[Edge::Start(NodeId(0))]);
    let mut walk = start(&graph, request("/x", &["d0"]));
    assert!(walk.is_response_ready());
    let response = walk.build_response(at(1));
    assert_eq!(ids(&response.documents), ["d0"]);
    assert!(response.parameters.is_present());
}

#[test]
fn without_executors_the_request_is_returned_with_its_parameters_unchanged() {
    let graph = graph(&[], &[]);
    let response = start(&graph, request("/x", &["d0"])).build_response(at(1));
    assert_eq!(route_names(&response), ["gateway"]);
    assert!(!response.parameters.is_present());
}

#[test]
fn results_of_all_executors_are_merged_and_the_clients_parameters_stay() {
    let graph = diamond();
    let mut sent = request("/x", &[]);
    let parameters = Struct {
        fields: [("k".to_owned(), number(1.0))].into(),
    };
    sent.parameters = parameters.into();
    let mut walk = start(&graph, sent);
    let mut in_flight = walk.take_ready();
    while let Some(Step { node, mut requests }) = in_flight.pop() {
        let mut response = requests.remove(0);
        let own = Struct {
            fields: [(format!("{}/rep-0", graph[node].name), number(2.0))].into(),
        };
        let results = Value {
            kind: Some(Kind::StructValue(own)),
        };
        response.parameters = Struct {
            fields: [("__results__".to_owned(), results)].into(),
        }
        .into();
        walk.record_response(node, response, false, at(1))
            .expect("a valid response");
        in_flight.extend(walk.take_ready());
    }
    let response = walk
        .build_response(at(2))
        .parameters
        .decode()
        .expect("a Struct");
    assert_eq!(response.fields["k"], number(1.0));
    let Some(Kind::StructValue(results)) = &response.fields["__results__"].kind else {
        panic!("no results")
    };
    assert_eq!(
        results.fields.keys().collect::<Vec<_>>(),
        ["a/rep-0", "b/rep-0", "c/rep-0", "j/rep-0"]
    );
}

#[test]
fn an_invalid_target_executor_is_rejected() {
    let graph = diamond();
    let mut sent = request("/x", &[]);
    sent.header.target_executor = Some("(".to_owned());
    let endpoints = Arc::new(KnownEndpoints::new(4));
    assert!(matches!(
        Walk::start(graph, endpoints, sent, at(0)),
        Err(WalkError::Target(_))
    ));
}

fn number(n: f64) -> Value {
    Value {
        kind: Some(Kind::NumberValue(n)),
    }
}

/// A graph in which the Gateway sends to one node for each condition.
fn conditions(conditions: &[serde_json::Value]) -> Arc<FlowGraph> {
    let nodes = conditions
        .iter()
        .enumerate()
        .map(|(number, condition)| NodeSpec {
            name: format!("n{number}"),
            filter: Some(Filter::compile(condition).expect("a condition")),
            reduce: true,
        });
    let ids = (0..conditions.len()).map(NodeId);
    let edges: Vec<_> = ids
        .flat_map(|id| [Edge::Start(id), Edge::End(id)])
        .collect();
    Arc::new(FlowGraph::new(nodes.collect(), &edges).expect("no cycle"))
}

#[test]
fn documents_are_decoded_once_for_all_conditions() {
    let all = serde_json::json!({});
    let graph = conditions(&[all.clone(), all.clone(), all]);
    let sent = request("/x", &["d0", "d1"]);
    let encoded = DataRequest::decode(&sent.encode_to_vec()[..]).expect("just encoded");
    for sent in [sent, encoded] {
        let mut walk = start(&graph, sent);
        let lists: Vec<_> = walk
            .take_ready()
            .into_iter()
            .map(|step| step.requests[0].documents.decode().expect("documents"))
            .collect();
        assert_eq!(lists.len(), 3);
        assert!(lists.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
    }
}

#[test]
fn each_condition_selects_of_all_documents() {
    let id = |id: &str| serde_json::json!({"id": {"$eq": id}});
    let graph = conditions(&[id("d0"), id("d1"), serde_json::json!({})]);
    let sent = request("/x", &["d0", "d1", "d2"]);
    let encoded = DataRequest::decode(&sent.encode_to_vec()[..]).expect("just encoded");
    for sent in [sent, encoded] {
        let steps = start(&graph, sent).take_ready();
        let selected: Vec<_> = steps
            .iter()
            .map(|step| ids(&step.requests[0].documents))
            .collect();
        assert_eq!(selected, [&["d0"][..], &["d1"], &["d0", "d1", "d2"]]);
    }
}
