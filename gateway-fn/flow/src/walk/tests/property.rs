//! Walks random graphs whose nodes respond, fail or are skipped, and compares them with a simple model.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What happens when a node is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Responds,
    Fails,
    /// Its Executor does not serve the endpoint.
    Skipped,
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Responds),
        1 => Just(Fate::Fails),
        1 => Just(Fate::Skipped),
    ]
}

/// Any graph without cycles: edges lead to later nodes only, and nodes without an incoming edge start at the Gateway.
/// Nodes from which no path leads to an end float.
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

/// A running walk, with what is expected of it.
struct Model {
    graph: Arc<FlowGraph>,
    fates: Vec<Fate>,
    walk: Walk,
    in_flight: Vec<Step>,
    called: BTreeSet<NodeId>,
    responded: BTreeSet<NodeId>,
    state: u64,
}

impl Model {
    fn start(graph: &Arc<FlowGraph>, fates: &[Fate], seed: u64) -> Self {
        let endpoints = Arc::new(KnownEndpoints::new(graph.len()));
        for (id, _) in graph.nodes() {
            let endpoint = match fates[id.0] {
                Fate::Skipped => "/other",
                Fate::Responds | Fate::Fails => "/x",
            };
            endpoints.record(id, vec![endpoint.to_owned()]);
        }
        let request = request("/x", &["d0", "d1"]);
        Self {
            graph: Arc::clone(graph),
            fates: fates.to_vec(),
            walk: Walk::start(Arc::clone(graph), endpoints, request, at(0))
                .expect("a valid request"),
            in_flight: Vec::new(),
            called: BTreeSet::new(),
            responded: BTreeSet::new(),
            state: seed | 1,
        }
    }

    /// Whether all requests that the node needs have arrived.
    fn is_reached(&self, id: NodeId) -> bool {
        let mut needs = self.graph[id].needs.iter().flatten();
        needs.all(|need| match self.fates[need.0] {
            Fate::Responds => self.responded.contains(need),
            Fate::Fails => false,
            Fate::Skipped => self.is_reached(*need),
        })
    }

    /// Returns the nodes that have been reached, with or without skipped ones.
    fn reached(&self, with_skipped: bool) -> BTreeSet<NodeId> {
        self.graph
            .nodes()
            .map(|(id, _)| id)
            .filter(|id| with_skipped || self.fates[id.0] != Fate::Skipped)
            .filter(|id| self.is_reached(*id))
            .collect()
    }

    /// Takes the ready calls. They must go to the nodes that have been reached, each with one request.
    fn take_ready(&mut self) -> Result<(), TestCaseError> {
        for step in self.walk.take_ready() {
            prop_assert!(
                self.called.insert(step.node),
                "{:?} is called twice",
                step.node
            );
            prop_assert_eq!(step.requests.len(), 1);
            self.in_flight.push(step);
        }
        prop_assert_eq!(&self.called, &self.reached(false));
        let is_waiting = self
            .in_flight
            .iter()
            .any(|step| self.graph[step.node].is_awaited);
        prop_assert_eq!(self.walk.is_response_ready(), !is_waiting);
        Ok(())
    }

    /// Lets a random call in flight return.
    fn return_one(&mut self) -> Result<(), TestCaseError> {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let pick = usize::try_from(self.state >> 33).unwrap_or_default() % self.in_flight.len();
        let Step { node, mut requests } = self.in_flight.remove(pick);
        self.responded.insert(node);
        let mut response = requests.remove(0);
        let fails = self.fates[node.0] == Fate::Fails;
        if fails {
            response.header.status = failed();
        }
        self.walk
            .record_response(node, response, fails, at(1))
            .expect("a valid response");
        self.take_ready()
    }

    fn run_until(&mut self, is_done: impl Fn(&Self) -> bool) -> Result<(), TestCaseError> {
        while !is_done(self) {
            prop_assert!(!self.in_flight.is_empty(), "stuck");
            self.return_one()?;
        }
        Ok(())
    }

    /// Compares the response to the client with what has happened so far.
    fn check_response(&mut self) -> Result<(), TestCaseError> {
        let response = self.walk.build_response(at(2));
        let names: Vec<_> = route_names(&response)
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
            let Some(route) = response
                .routes
                .iter()
                .find(|route| route.executor == node.name)
            else {
                continue;
            };
            let responded = self.responded.contains(&id);
            prop_assert_eq!(route.end_time.is_some(), responded);
            let fails = responded && self.fates[id.0] == Fate::Fails;
            prop_assert_eq!(&route.status, &fails.then(failed).flatten());
        }
        if !self.fates.contains(&Fate::Fails) {
            prop_assert_eq!(ids(&response.documents), ["d0", "d1"]);
            prop_assert!(response.header.status.is_none());
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn any_graph_runs_every_node_once_and_in_order(graph in any_graph(), seed in any::<u64>()) {
        let mut walk = start(&graph, request("/x", &["d0"]));
        let mut state = seed | 1;
        let order = run(&mut walk, &graph, |count| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap_or_default() % count
        });
        prop_assert!(walk.is_response_ready());
        prop_assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), graph.len());
        prop_assert_eq!(order.len(), graph.len());
        for (id, node) in graph.nodes() {
            let position = |id: NodeId| order.iter().position(|run| *run == id);
            for need in node.needs.iter().flatten() {
                prop_assert!(position(*need) < position(id));
            }
        }
        let response = walk.build_response(at(2));
        prop_assert_eq!(response.routes.len(), graph.len() + 1);
        prop_assert!(ids(&response.documents).contains(&"d0".to_owned()));
    }

    /// Whichever nodes fail, are skipped or float: no node runs twice, before all its needs or behind a failure, and the
    /// response is ready as soon as no awaited node is left.
    #[test]
    fn any_graph_runs_the_nodes_that_are_reached(
        graph in any_graph(),
        fates in proptest::collection::vec(any_fate(), 12),
        seed in any::<u64>(),
        check_early in any::<bool>(),
    ) {
        let mut model = Model::start(&graph, &fates, seed);
        model.take_ready()?;
        if check_early {
            model.run_until(|model| model.walk.is_response_ready())?;
            model.check_response()?;
        }
        // Floating nodes continue to their end.
        model.run_until(|model| model.in_flight.is_empty())?;
        if !check_early {
            model.check_response()?;
        }
    }
}
