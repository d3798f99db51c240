//! Walks over graphs of every shape: who runs, in which order, and what the client gets.

use std::collections::BTreeSet;

use flowgate_proto::{
    Documents, Kind, Struct, Value,
    docarray::DocumentProto,
    jina::{HeaderProto, StatusProto},
};
use proptest::prelude::*;

use super::*;
use crate::graph::{Edge, NodeSpec};

fn graph(names: &[&str], edges: &[Edge]) -> Arc<FlowGraph> {
    let nodes = names
        .iter()
        .map(|name| NodeSpec {
            name: (*name).to_owned(),
            filter: None,
            reduce: true,
        })
        .collect();
    Arc::new(FlowGraph::new(nodes, edges).expect("no circle"))
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

fn begin(graph: &Arc<FlowGraph>, request: DataRequest) -> Walk {
    let known = Arc::new(KnownEndpoints::unknown(graph.len()));
    Walk::begin(Arc::clone(graph), known, request, at(0)).expect("the request fits")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

/// Runs the walk to its end; each Executor adds a document named after it. `pick` says whose answer comes next.
fn run(walk: &mut Walk, graph: &FlowGraph, mut pick: impl FnMut(usize) -> usize) -> Vec<NodeId> {
    let mut order = Vec::new();
    let mut under_way = walk.take_ready();
    while !under_way.is_empty() {
        let Step { node, mut parts } = under_way.remove(pick(under_way.len()));
        order.push(node);
        let mut answer = parts.remove(0);
        let mut documents = answer.documents.into_vec().expect("documents");
        documents.push(document(&graph[node].name));
        answer.documents = documents.into();
        walk.answered(node, answer, false, at(1))
            .expect("the answer fits");
        under_way.extend(walk.take_ready());
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

fn route_names(answer: &DataRequest) -> Vec<&str> {
    answer
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
fn a_join_comes_out_in_the_order_of_needs_whoever_answers_first() {
    let graph = diamond();
    for last in [false, true] {
        let mut walk = begin(&graph, request("/x", &["d0"]));
        run(&mut walk, &graph, |count| if last { count - 1 } else { 0 });
        let answer = walk.answer(at(2));
        assert_eq!(ids(&answer.documents), ["d0", "a", "b", "c", "j"]);
        assert_eq!(route_names(&answer), ["gateway", "a", "b", "j", "c"]);
    }
}

#[test]
fn an_error_in_a_branch_keeps_the_join_from_running_and_is_what_comes_out() {
    let graph = diamond();
    let mut walk = begin(&graph, request("/x", &["d0"]));
    let step = walk.take_ready().remove(0);
    walk.answered(step.node, step.parts[0].clone(), false, at(1))
        .expect("fits");
    let branches = walk.take_ready();
    for Step { node, mut parts } in branches {
        let mut answer = parts.remove(0);
        let is_error = graph[node].name == "c";
        answer.header.status = if is_error { failed() } else { None };
        walk.answered(node, answer, is_error, at(1)).expect("fits");
    }
    assert!(walk.is_settled() && walk.take_ready().is_empty());
    let answer = walk.answer(at(2));
    assert_eq!(answer.header.status, failed());
    assert_eq!(route_names(&answer), ["gateway", "a", "b", "c"]);
    assert_eq!(answer.routes[3].status, failed());
    assert!(answer.routes[2].status.is_none());
}

#[test]
fn a_skipped_join_keeps_all_its_branches() {
    let graph = diamond();
    let known = Arc::new(KnownEndpoints::unknown(4));
    known.learn(NodeId(3), vec!["/other".to_owned()]);
    let mut walk =
        Walk::begin(Arc::clone(&graph), known, request("/x", &["d0"]), at(0)).expect("fits");
    run(&mut walk, &graph, |_| 0);
    let answer = walk.answer(at(2));
    assert_eq!(ids(&answer.documents), ["d0", "a", "b", "c"]);
    let skipped = answer
        .routes
        .iter()
        .find(|route| route.executor == "j")
        .expect("a route");
    assert!(skipped.start_time.is_some() && skipped.end_time.is_none());
}

#[test]
fn a_skipped_join_hears_nothing_from_a_branch_that_was_passed_by() {
    let graph = diamond();
    let mut targeted = request("/x", &["d0"]);
    targeted.header.target_executor = Some("^(a|b)$".to_owned());
    let mut walk = begin(&graph, targeted);
    run(&mut walk, &graph, |_| 0);
    let answer = walk.answer(at(2));
    assert_eq!(ids(&answer.documents), ["d0", "a", "b"]);
}

#[test]
fn skipped_joins_one_behind_the_other_hear_only_who_did_something() {
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
    let mut walk = begin(&graph, targeted);
    let Step { node, mut parts } = walk.take_ready().remove(0);
    let mut answer = parts.remove(0);
    answer.documents = vec![document("only c's")].into();
    walk.answered(node, answer, false, at(1)).expect("fits");
    assert_eq!(ids(&walk.answer(at(2)).documents), ["only c's"]);
}

#[test]
fn a_skipped_join_behind_a_condition_keeps_what_the_condition_took_out() {
    let condition = serde_json::json!({"id": {"$eq": "kept"}});
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
    let graph = Arc::new(FlowGraph::new(nodes, &edges).expect("no circle"));
    let mut targeted = request("/x", &["gone", "kept"]);
    targeted.header.target_executor = Some("^b$".to_owned());
    let mut walk = begin(&graph, targeted);
    run(&mut walk, &graph, |_| 0);
    assert_eq!(ids(&walk.answer(at(2)).documents), ["gone", "kept", "b"]);
}

#[test]
fn a_document_without_an_id_counts_once_where_its_ways_meet() {
    let graph = diamond();
    let mut walk = begin(&graph, request("/x", &["", "d1"]));
    run(&mut walk, &graph, |_| 0);
    assert_eq!(
        ids(&walk.answer(at(2)).documents).len(),
        6,
        "two and one from each"
    );
}

#[test]
fn a_long_chain_of_skipped_nodes_is_passed() {
    let names: Vec<String> = (0..1000).map(|index| format!("n{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut edges = vec![Edge::Start(NodeId(0)), Edge::End(NodeId(999))];
    edges.extend((1..1000).map(|to| between(to - 1, to)));
    let graph = graph(&names, &edges);
    let mut targeted = request("/x", &["d0"]);
    targeted.header.target_executor = Some("nobody".to_owned());
    let mut walk = begin(&graph, targeted);
    assert!(walk.is_settled() && walk.take_ready().is_empty());
    assert_eq!(walk.answer(at(1)).routes.len(), 1001);
}

#[test]
fn target_executor_skips_the_others_and_is_empty_in_the_answer() {
    let graph = diamond();
    let mut targeted = request("/x", &["d0"]);
    targeted.header.target_executor = Some("^(a|c)$".to_owned());
    let mut walk = begin(&graph, targeted);
    let order = run(&mut walk, &graph, |_| 0);
    assert_eq!(order, [NodeId(0), NodeId(2)]);
    assert_eq!(
        walk.answer(at(2)).header.target_executor.as_deref(),
        Some("")
    );
}

#[test]
fn the_answer_does_not_wait_for_what_floats() {
    let edges = [
        Edge::Start(NodeId(0)),
        between(0, 1),
        between(0, 2),
        Edge::End(NodeId(2)),
    ];
    let graph = graph(&["a", "f", "b"], &edges);
    let mut walk = begin(&graph, request("/x", &["d0"]));
    let first = walk.take_ready().remove(0);
    walk.answered(first.node, first.parts[0].clone(), false, at(1))
        .expect("fits");
    let steps = walk.take_ready();
    assert_eq!(
        steps.iter().map(|step| step.node).collect::<Vec<_>>(),
        [NodeId(1), NodeId(2)]
    );
    walk.answered(NodeId(2), steps[1].parts[0].clone(), false, at(1))
        .expect("fits");
    assert!(walk.is_settled(), "f still runs");
    let answer = walk.answer(at(2));
    assert_eq!(route_names(&answer), ["gateway", "a", "f", "b"]);
    assert!(answer.routes[2].end_time.is_none());
    walk.answered(NodeId(1), steps[0].parts[0].clone(), false, at(3))
        .expect("a late answer is taken");
}

#[test]
fn where_everything_floats_the_request_comes_back_at_once() {
    let graph = graph(&["f"], &[Edge::Start(NodeId(0))]);
    let mut walk = begin(&graph, request("/x", &["d0"]));
    assert!(walk.is_settled());
    let answer = walk.answer(at(1));
    assert_eq!(ids(&answer.documents), ["d0"]);
    assert!(answer.parameters.is_present());
}

#[test]
fn without_executors_the_request_comes_back_with_its_parameters_as_they_were() {
    let graph = graph(&[], &[]);
    let answer = begin(&graph, request("/x", &["d0"])).answer(at(1));
    assert_eq!(route_names(&answer), ["gateway"]);
    assert!(!answer.parameters.is_present());
}

#[test]
fn results_of_all_executors_are_united_and_the_clients_parameters_stay() {
    let graph = diamond();
    let mut sent = request("/x", &[]);
    let parameters = Struct {
        fields: [("k".to_owned(), number(1.0))].into(),
    };
    sent.parameters = parameters.into();
    let mut walk = begin(&graph, sent);
    let mut under_way = walk.take_ready();
    while let Some(Step { node, mut parts }) = under_way.pop() {
        let mut answer = parts.remove(0);
        let own = Struct {
            fields: [(format!("{}/rep-0", graph[node].name), number(2.0))].into(),
        };
        let results = Value {
            kind: Some(Kind::StructValue(own)),
        };
        answer.parameters = Struct {
            fields: [("__results__".to_owned(), results)].into(),
        }
        .into();
        walk.answered(node, answer, false, at(1)).expect("fits");
        under_way.extend(walk.take_ready());
    }
    let answer = walk.answer(at(2)).parameters.decode().expect("a Struct");
    assert_eq!(answer.fields["k"], number(1.0));
    let Some(Kind::StructValue(results)) = &answer.fields["__results__"].kind else {
        panic!("no results")
    };
    assert_eq!(
        results.fields.keys().collect::<Vec<_>>(),
        ["a/rep-0", "b/rep-0", "c/rep-0", "j/rep-0"]
    );
}

#[test]
fn a_pattern_that_is_none_is_refused() {
    let graph = diamond();
    let mut sent = request("/x", &[]);
    sent.header.target_executor = Some("(".to_owned());
    let known = Arc::new(KnownEndpoints::unknown(4));
    assert!(matches!(
        Walk::begin(graph, known, sent, at(0)),
        Err(WalkError::Target(_))
    ));
}

fn number(n: f64) -> Value {
    Value {
        kind: Some(Kind::NumberValue(n)),
    }
}

/// What becomes of a node when it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answers,
    Fails,
    /// Its Executor does not bind the endpoint.
    Skipped,
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Answers),
        1 => Just(Fate::Fails),
        1 => Just(Fate::Skipped),
    ]
}

/// Any graph without circles: edges only lead to later nodes, nodes without one start at the Gateway. Nodes from which
/// no way leads to an end float.
fn any_graph() -> impl Strategy<Value = Arc<FlowGraph>> {
    (1..=12_usize).prop_flat_map(|count| {
        (
            proptest::collection::vec(proptest::bool::weighted(0.3), count * count),
            proptest::collection::vec(proptest::bool::weighted(0.3), count),
        )
            .prop_map(move |(matrix, ends)| {
                let mut edges = Vec::new();
                for to in 0..count {
                    let before = edges.len();
                    edges.extend(
                        (0..to)
                            .filter(|from| matrix[from * count + to])
                            .map(|from| between(from, to)),
                    );
                    if edges.len() == before {
                        edges.push(Edge::Start(NodeId(to)));
                    }
                }
                edges.extend(
                    ends.iter()
                        .enumerate()
                        .filter(|(_, end)| **end)
                        .map(|(id, _)| Edge::End(NodeId(id))),
                );
                let names: Vec<String> = (0..count).map(|id| format!("n{id}")).collect();
                graph(
                    &names.iter().map(String::as_str).collect::<Vec<_>>(),
                    &edges,
                )
            })
    })
}

/// A walk under way, beside what it has to come to.
struct Play {
    graph: Arc<FlowGraph>,
    fates: Vec<Fate>,
    walk: Walk,
    under_way: Vec<Step>,
    called: BTreeSet<NodeId>,
    answered: BTreeSet<NodeId>,
    state: u64,
}

impl Play {
    fn begin(graph: &Arc<FlowGraph>, fates: &[Fate], seed: u64) -> Self {
        let known = Arc::new(KnownEndpoints::unknown(graph.len()));
        for (id, _) in graph.nodes() {
            let endpoint = match fates[id.0] {
                Fate::Skipped => "/other",
                Fate::Answers | Fate::Fails => "/x",
            };
            known.learn(id, vec![endpoint.to_owned()]);
        }
        let request = request("/x", &["d0", "d1"]);
        Self {
            graph: Arc::clone(graph),
            fates: fates.to_vec(),
            walk: Walk::begin(Arc::clone(graph), known, request, at(0)).expect("the request fits"),
            under_way: Vec::new(),
            called: BTreeSet::new(),
            answered: BTreeSet::new(),
            state: seed | 1,
        }
    }

    /// Whether all that the node needs has come to it by now.
    fn is_reached(&self, id: NodeId) -> bool {
        let mut needs = self.graph[id].needs.iter().flatten();
        needs.all(|need| match self.fates[need.0] {
            Fate::Answers => self.answered.contains(need),
            Fate::Fails => false,
            Fate::Skipped => self.is_reached(*need),
        })
    }

    /// The nodes that are reached by now, with or without those that are skipped.
    fn reached(&self, skipped: bool) -> BTreeSet<NodeId> {
        self.graph
            .nodes()
            .map(|(id, _)| id)
            .filter(|id| skipped || self.fates[id.0] != Fate::Skipped)
            .filter(|id| self.is_reached(*id))
            .collect()
    }

    /// Takes what is ready: exactly the nodes that have just been reached, each with one request.
    fn take(&mut self) -> Result<(), TestCaseError> {
        for step in self.walk.take_ready() {
            prop_assert!(self.called.insert(step.node), "{:?} twice", step.node);
            prop_assert_eq!(step.parts.len(), 1);
            self.under_way.push(step);
        }
        prop_assert_eq!(&self.called, &self.reached(false));
        let waits = self
            .under_way
            .iter()
            .any(|step| self.graph[step.node].awaited);
        prop_assert_eq!(self.walk.is_settled(), !waits);
        Ok(())
    }

    /// One of the calls under way, whichever, comes back.
    fn answer_one(&mut self) -> Result<(), TestCaseError> {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let pick = usize::try_from(self.state >> 33).unwrap_or_default() % self.under_way.len();
        let Step { node, mut parts } = self.under_way.remove(pick);
        self.answered.insert(node);
        let mut answer = parts.remove(0);
        let fails = self.fates[node.0] == Fate::Fails;
        if fails {
            answer.header.status = failed();
        }
        self.walk
            .answered(node, answer, fails, at(1))
            .expect("the answer fits");
        self.take()
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), TestCaseError> {
        while !done(self) {
            prop_assert!(!self.under_way.is_empty(), "stuck");
            self.answer_one()?;
        }
        Ok(())
    }

    /// The client's answer, held against what has happened so far.
    fn answer(&mut self) -> Result<(), TestCaseError> {
        let answer = self.walk.answer(at(2));
        let names: Vec<_> = route_names(&answer)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let order = self.graph.depth_first().iter();
        let reached = self.reached(true);
        let started = order.filter(|id| reached.contains(*id));
        let expected: Vec<_> = std::iter::once("gateway".to_owned())
            .chain(started.map(|id| self.graph[*id].name.clone()))
            .collect();
        prop_assert_eq!(names, expected);
        for (id, node) in self.graph.nodes() {
            let Some(route) = answer
                .routes
                .iter()
                .find(|route| route.executor == node.name)
            else {
                continue;
            };
            let answered = self.answered.contains(&id);
            prop_assert_eq!(route.end_time.is_some(), answered);
            let fails = answered && self.fates[id.0] == Fate::Fails;
            prop_assert_eq!(&route.status, &fails.then(failed).flatten());
        }
        if !self.fates.contains(&Fate::Fails) {
            prop_assert_eq!(ids(&answer.documents), ["d0", "d1"]);
            prop_assert!(answer.header.status.is_none());
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn any_graph_runs_every_node_once_and_in_order(graph in any_graph(), seed in any::<u64>()) {
        let mut walk = begin(&graph, request("/x", &["d0"]));
        let mut state = seed | 1;
        let order = run(&mut walk, &graph, |count| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap_or_default() % count
        });
        prop_assert!(walk.is_settled());
        prop_assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), graph.len());
        prop_assert_eq!(order.len(), graph.len());
        for (id, node) in graph.nodes() {
            let place = |id: NodeId| order.iter().position(|run| *run == id);
            for need in node.needs.iter().flatten() {
                prop_assert!(place(*need) < place(id));
            }
        }
        let answer = walk.answer(at(2));
        prop_assert_eq!(answer.routes.len(), graph.len() + 1);
        prop_assert!(ids(&answer.documents).contains(&"d0".to_owned()));
    }

    /// Whatever fails, is skipped or floats: nobody runs twice, without all parts or behind a failure, and the answer
    /// comes as soon as nobody is left whom it waits for, and not before.
    #[test]
    fn any_graph_runs_whom_it_reaches(
        graph in any_graph(),
        fates in proptest::collection::vec(any_fate(), 12),
        seed in any::<u64>(),
        early in any::<bool>(),
    ) {
        let mut play = Play::begin(&graph, &fates, seed);
        play.take()?;
        if early {
            play.run_until(|play| play.walk.is_settled())?;
            play.answer()?;
        }
        // What floats runs on to its end.
        play.run_until(|play| play.under_way.is_empty())?;
        if !early {
            play.answer()?;
        }
    }
}
