//! The deployments in the order of the file -> the Flow's graph: names, `needs`, joins and inspections, as Jina 3.13's
//! `Flow.add`, `needs`, `needs_all`, `inspect` and `gather_inspect` do.

use std::collections::{HashMap, HashSet};

use flowgate_flow::graph::FlowGraph;

use self::deployment::{Deployment, Need};
use super::{
    diagnostic::{Place, Report},
    executor::{self, ExecutorConfig},
    graph::{self, Part},
    scalar::Typing,
    section::{Commas, Entry, Section},
};

mod deployment;

mod edges;

/// How `method: inspect` is treated (the Flow's key `inspect`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Inspect {
    /// Inspections are floating.
    Hang,
    /// Inspections are left out.
    Remove,
    /// The answers of inspections are joined at the end.
    #[default]
    Collect,
}

/// The name of a deployment; `None` is the Gateway.
type Predecessor = Option<String>;

/// Builds the graph, deployment by deployment.
pub(super) struct Topology<'e> {
    inspect: Inspect,
    typing: Typing,
    env: &'e dyn Fn(&str) -> Option<String>,
    deployments: Vec<Deployment>,
    /// The predecessor of the next deployment without `needs`.
    last: Predecessor,
    /// For each inspected deployment, the pass-through that its successors need in its place.
    replacements: HashMap<Predecessor, Predecessor>,
}

impl<'e> Topology<'e> {
    pub(super) fn new(
        inspect: Inspect,
        typing: Typing,
        env: &'e dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self {
            inspect,
            typing,
            env,
            deployments: Vec::new(),
            last: None,
            replacements: HashMap::new(),
        }
    }

    /// Adds one entry of `executors`.
    pub(super) fn add(&mut self, section: &Section<'_>, report: &mut Report) {
        let name = section.find(&["name"]);
        if name.as_ref().and_then(|entry| entry.node.text()).as_deref() == Some(GATEWAY) {
            report.warn(
                &section.place(),
                "an executor with the name `gateway`",
                "another name; this one is left out, as in Jina",
            );
            return;
        }
        let method = section.find(&["method"]);
        match method
            .as_ref()
            .and_then(|entry| entry.node.text())
            .as_deref()
        {
            None | Some("add") => self.add_plain(section, "executor", report),
            Some("needs") => self.add_join(section, report),
            Some("needs_all") => self.add_join_of_all(section, report),
            Some("inspect") => self.add_inspection(section, report),
            Some("gather_inspect") => {
                if let Some(needs) = self.inspections(&section.place()) {
                    self.push(section, "gather_inspect", needs, report);
                }
            }
            Some(_) => {
                if let Some(entry) = &method {
                    entry.invalid::<()>("add, needs, needs_all, inspect or gather_inspect", report);
                }
                self.add_plain(section, "executor", report);
            }
        }
    }

    /// Returns the executors, their graph and the place of each, once all deployments are added.
    pub(super) fn finish(
        mut self,
        report: &mut Report,
    ) -> Option<(Vec<ExecutorConfig>, FlowGraph, Vec<Place>)> {
        let inspections = self.inspections(&Place::default());
        if let (Inspect::Collect, Some(needs)) = (self.inspect, inspections) {
            let name = self.free_name("gather_inspect");
            self.place(Deployment::pass_through(
                name,
                Place::default(),
                needs,
                false,
            ));
        }
        let edges = edges::edges(&self.deployments, self.last.as_deref(), report);
        let places: Vec<Place> = self
            .deployments
            .iter()
            .map(|deployment| deployment.place.clone())
            .collect();
        let parts = self
            .deployments
            .into_iter()
            .map(|deployment| deployment.part);
        let (executors, graph) = graph::compile(parts.collect(), &edges, &places, report)?;
        Some((executors, graph, places))
    }

    fn add_plain(&mut self, section: &Section<'_>, default: &str, report: &mut Report) {
        let needs = self
            .needs(section, report)
            .unwrap_or_else(|| vec![self.follow_last(section)]);
        self.push(section, default, needs, report);
    }

    fn add_join(&mut self, section: &Section<'_>, report: &mut Report) {
        let needs = self.needs(section, report).unwrap_or_default();
        if needs.len() < 2 {
            let entry = section.find(&["needs"]);
            let place = entry
                .as_ref()
                .map_or_else(|| section.place(), |entry| entry.place.clone());
            let expected =
                "at least two names in `needs` (for a single one, `needs` alone is enough)";
            // For a single text, Jina counts its letters instead of names, and accepts it.
            let is_text = entry
                .as_ref()
                .is_some_and(|entry| entry.node.text().is_some());
            if is_text {
                report.warn(&place, "one name for `method: needs`", expected)
            } else {
                report.error(&place, "too few names for `method: needs`", expected)
            }
        }
        self.push(section, "joiner", needs, report);
    }

    fn add_join_of_all(&mut self, section: &Section<'_>, report: &mut Report) {
        self.reject_needs(section, report);
        let needed: HashSet<&str> = self
            .deployments
            .iter()
            .flat_map(|deployment| &deployment.needs)
            .filter_map(|need| need.name.as_deref())
            .collect();
        let free = self.deployments.iter().filter(|deployment| {
            !deployment.floating && !needed.contains(deployment.part.executor.name.as_str())
        });
        let needs: Vec<Need> = free
            .map(|deployment| Need::of(Some(&deployment.part.executor.name), &section.place()))
            .collect();
        if needs.is_empty() {
            report.error(
                &section.place(),
                "`method: needs_all` with nothing before it",
                "executors before it that no other executor needs",
            );
        }
        self.push(section, "joiner", needs, report);
    }

    /// Adds the inspection, and a pass-through that replaces the inspected deployment for its successors.
    fn add_inspection(&mut self, section: &Section<'_>, report: &mut Report) {
        self.reject_needs(section, report);
        if self.inspect == Inspect::Remove {
            return;
        }
        let inspected = self.last.clone();
        let needs = vec![Need::of(inspected.as_deref(), &section.place())];
        self.push(section, "inspect", needs.clone(), report);
        let Some(inspection) = self.deployments.last_mut() else {
            return;
        };
        inspection.inspects = true;
        let (floating, given) = (inspection.floating, section.text(&["name"], report));
        let name = self.free_name(&format!("_aux_{}", given.as_deref().unwrap_or("inspect")));
        self.place(Deployment::pass_through(
            name,
            section.place(),
            needs,
            floating,
        ));
        self.replacements.insert(inspected, self.last.clone());
    }

    /// Returns all inspections and the last deployment, if there are inspections.
    fn inspections(&self, place: &Place) -> Option<Vec<Need>> {
        let inspections = self
            .deployments
            .iter()
            .filter(|deployment| deployment.inspects);
        let mut needs: Vec<Need> = inspections
            .map(|deployment| Need::of(Some(&deployment.part.executor.name), place))
            .collect();
        if needs.is_empty() {
            return None;
        }
        needs.push(Need::of(self.last.as_deref(), place));
        Some(needs)
    }

    fn push(
        &mut self,
        section: &Section<'_>,
        default: &str,
        needs: Vec<Need>,
        report: &mut Report,
    ) {
        let name = self.name(section, default, report);
        let itself = needs
            .iter()
            .find(|need| need.name.as_deref() == Some(&name));
        if let Some(need) = itself {
            report.error(
                &need.place,
                &need.found,
                "another executor: an executor cannot need itself",
            );
        }
        // Jina rejects it for external Executors that join; Flowgate supports it for all.
        let reduce = !section.flag(&["no_reduce", "disable_reduce"], report);
        let floating = section.flag(&["floating"], report);
        let when = section.find(&["when"]);
        let condition = when
            .as_ref()
            .and_then(|entry| executor::condition(entry, self.typing, report));
        let filter = when
            .zip(condition.as_ref())
            .and_then(|(entry, condition)| graph::filter(&entry, condition, report));
        executor::check_unused(section, report);
        let executor = ExecutorConfig {
            name,
            addresses: executor::addresses(section, self.env, report),
            metadata: executor::metadata(section, report),
            when: condition,
        };
        let part = Part {
            executor,
            filter,
            reduce,
        };
        self.place(Deployment {
            part,
            place: section.place(),
            needs,
            floating,
            inspects: false,
        });
    }

    fn place(&mut self, mut deployment: Deployment) {
        for need in &mut deployment.needs {
            if let Some(replacement) = self.replacements.get(&need.name) {
                need.name.clone_from(replacement);
            }
        }
        // `needs` may contain both a deployment and its replacement.
        let mut seen = HashSet::new();
        deployment
            .needs
            .retain(|need| seen.insert(need.name.clone()));
        if !deployment.floating {
            self.last = Some(deployment.part.executor.name.clone());
        }
        self.deployments.push(deployment);
    }

    /// Returns the name of a deployment: its key `name`, or the default with Jina's number.
    fn name(&self, section: &Section<'_>, default: &str, report: &mut Report) -> String {
        let Some(entry) = section.find(&["name"]) else {
            return if default == "executor" {
                self.free_name(&format!("executor{}", self.deployments.len()))
            } else {
                self.free_name(default)
            };
        };
        let name = entry.node.text().unwrap_or_default();
        if !is_identifier(&name) {
            entry.invalid::<()>(
                "a Python identifier: letters, digits and `_`, not starting with a digit",
                report,
            );
        } else if self.is_taken(&name) {
            entry.invalid::<()>("a name that no other executor has", report);
            // The name that Jina would give avoids errors for deployments that follow this one by order.
            return self.free_name(&name);
        }
        name
    }

    fn is_taken(&self, name: &str) -> bool {
        self.deployments
            .iter()
            .any(|deployment| deployment.part.executor.name == name)
    }

    /// Appends the number of deployments to a name that is taken, as Jina does.
    fn free_name(&self, name: &str) -> String {
        let numbered = (self.deployments.len()..).map(|number| format!("{name}{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        names.find(|name| !self.is_taken(name)).unwrap_or_default()
    }

    /// Returns the names in `needs`, each once; `None` if the key is missing or the list is empty.
    fn needs(&self, section: &Section<'_>, report: &mut Report) -> Option<Vec<Need>> {
        let mut needs: Vec<Need> = Vec::new();
        for item in section.items(&["needs"], Commas::Split, report) {
            let name = Some(item.text).filter(|name| name != GATEWAY);
            if !needs.iter().any(|need| need.name == name) {
                let found = item.entry.node.found();
                needs.push(Need {
                    name,
                    place: item.entry.place,
                    found,
                });
            }
        }
        Some(needs).filter(|needs| !needs.is_empty())
    }

    fn follow_last(&self, section: &Section<'_>) -> Need {
        Need::of(self.last.as_deref(), &section.place())
    }

    fn reject_needs(&self, section: &Section<'_>, report: &mut Report) {
        if let Some(entry) = section.find(&["needs"]) {
            report.error(
                &entry.place,
                "`needs` with a method that chooses what it needs",
                "no `needs`",
            );
        }
    }
}

impl Inspect {
    /// Reads the Flow's key `inspect`.
    pub(super) fn read(entry: Option<&Entry<'_>>, report: &mut Report) -> Self {
        let Some(entry) = entry else {
            return Self::default();
        };
        match entry
            .node
            .text()
            .map(|text| text.to_ascii_uppercase())
            .as_deref()
        {
            Some("HANG") => Self::Hang,
            Some("REMOVE") => Self::Remove,
            Some("COLLECT") => Self::Collect,
            _ => entry
                .invalid("HANG, REMOVE or COLLECT", report)
                .unwrap_or_default(),
        }
    }
}

fn is_identifier(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|c| !c.is_numeric())
}

const GATEWAY: &str = "gateway";
