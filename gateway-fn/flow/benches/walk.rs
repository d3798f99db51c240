//! How long a request's way through a graph takes, without the calls: `cargo bench -p flowgate-flow --bench walk`.

use std::{hint::black_box, sync::Arc};

use criterion::Criterion;
use flowgate_flow::{
    endpoints::KnownEndpoints,
    graph::{Edge, FlowGraph, NodeId, NodeSpec},
    walk::Walk,
};
use flowgate_proto::{DataRequest, Timestamp, docarray::DocumentProto};
use prost::Message as _;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, graph) in [
        ("linear_1", linear(1)),
        ("linear_8", linear(8)),
        ("four_branches_and_join", branches(4)),
    ] {
        let graph = Arc::new(graph);
        let endpoints = Arc::new(KnownEndpoints::new(graph.nodes().count()));
        let wire: bytes::Bytes = request().encode_to_vec().into();
        criterion.bench_function(name, |bencher| {
            // Documents that come from the wire are encoded, those of the next iteration too.
            bencher.iter(|| {
                let request = DataRequest::decode(wire.clone()).expect("a request");
                walk(&graph, &endpoints, black_box(request))
            });
        });
    }
    criterion.final_summary();
}

/// Walks the graph; every Executor returns the request unchanged.
fn walk(
    graph: &Arc<FlowGraph>,
    endpoints: &Arc<KnownEndpoints>,
    request: DataRequest,
) -> DataRequest {
    let now = Timestamp::default();
    let mut walk = Walk::start(Arc::clone(graph), Arc::clone(endpoints), request, now)
        .expect("a valid request");
    while !walk.is_response_ready() {
        for mut step in walk.take_ready() {
            let response = step.requests.pop().unwrap_or_default();
            walk.record_response(step.node, response, false, now)
                .expect("a valid response");
        }
    }
    walk.build_response(now)
}

fn request() -> DataRequest {
    let documents = (0..10).map(|number| DocumentProto {
        id: format!("{number:032x}"),
        ..DocumentProto::default()
    });
    let mut request = DataRequest::default();
    request.header.exec_endpoint = Some("/".to_owned());
    request.documents = documents.collect::<Vec<_>>().into();
    request
}

fn linear(length: usize) -> FlowGraph {
    let mut edges = vec![Edge::Start(NodeId(0))];
    edges.extend((1..length).map(|node| Edge::Between(NodeId(node - 1), NodeId(node))));
    edges.push(Edge::End(NodeId(length - 1)));
    graph(length, &edges)
}

fn branches(count: usize) -> FlowGraph {
    let join = NodeId(count);
    let mut edges: Vec<_> = (0..count).map(|node| Edge::Start(NodeId(node))).collect();
    edges.extend((0..count).map(|node| Edge::Between(NodeId(node), join)));
    edges.push(Edge::End(join));
    graph(count + 1, &edges)
}

fn graph(nodes: usize, edges: &[Edge]) -> FlowGraph {
    let nodes = (0..nodes).map(|number| NodeSpec {
        name: format!("executor{number}"),
        filter: None,
        reduce: true,
    });
    FlowGraph::new(nodes.collect(), edges).expect("no cycle")
}
