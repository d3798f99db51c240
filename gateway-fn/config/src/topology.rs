//! The deployments in the order of the file to the Flow's graph: names, `needs`, joins and inspections, as Jina 3.13's
//! `Flow.add` and its kin do.

use std::collections::{HashMap, HashSet};

use flowgate_flow::graph::FlowGraph;

use self::deployment::{Deployment, Need};
use super::{
    diagnostic::{Place, Report},
    executor::{self, ExecutorConfig},
    graph::{self, Part},
    node::Typing,
    section::{Commas, Entry, Section},
};

mod deployment;

mod edges;

/// What becomes of `method: inspect` (the Flow's key `inspect`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Inspect {
    /// Inspections float.
    Hang,
    /// They are left out.
    Remove,
    /// Their answers are gathered at the end.
    #[default]
    Collect,
}

/// The deployments so far.
pub(super) struct Topology<'e> {
    inspect: Inspect,
    typing: Typing,
    env: &'e dyn Fn(&str) -> Option<String>,
    deployments: Vec<Deployment>,
    /// What a deployment without `needs` follows; `None` is the Gateway.
    last: Option<String>,
    /// Who stands in for a deployment that is inspected.
    stand_ins: HashMap<Option<String>, Option<String>>,
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
            stand_ins: HashMap::new(),
        }
    }

    /// Adds one entry of `executors`.
    pub(super) fn add(&mut self, section: &Section<'_>, report: &mut Report) {
        let name = section.find(&["name"]);
        if name.as_ref().and_then(|entry| entry.node.text()).as_deref() == Some(GATEWAY) {
            report.warn(
                &section.place(),
                "an executor by the name of the Gateway",
                "another name; it is left out, as in Jina",
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
                    entry.wrong::<()>("add, needs, needs_all, inspect or gather_inspect", report);
                }
                self.add_plain(section, "executor", report);
            }
        }
    }

    /// The graph and who is in it, once all deployments are added.
    pub(super) fn finish(
        mut self,
        report: &mut Report,
    ) -> Option<(Vec<ExecutorConfig>, FlowGraph)> {
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
        graph::compile(
            self.deployments
                .into_iter()
                .map(|deployment| deployment.part)
                .collect(),
            &edges,
            &places,
            report,
        )
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
            let expected = "at least two names in `needs`: no need to wait for a single one";
            // Jina counts the letters of a single name.
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
        self.refuse_needs(section, report);
        let needed: HashSet<&str> = self
            .deployments
            .iter()
            .flat_map(|one| &one.needs)
            .filter_map(|need| need.name.as_deref())
            .collect();
        let free = self
            .deployments
            .iter()
            .filter(|one| !one.floating && !needed.contains(one.part.executor.name.as_str()));
        let needs: Vec<Need> = free
            .map(|one| Need::of(Some(&one.part.executor.name), &section.place()))
            .collect();
        if needs.is_empty() {
            report.error(
                &section.place(),
                "`method: needs_all` with nothing before it",
                "executors that nobody needs yet",
            );
        }
        self.push(section, "joiner", needs, report);
    }

    /// The deployment beside the Flow, and a pass-through that stands in for what it inspects.
    fn add_inspection(&mut self, section: &Section<'_>, report: &mut Report) {
        self.refuse_needs(section, report);
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
        self.stand_ins.insert(inspected, self.last.clone());
    }

    /// All inspections and the last deployment, if there are inspections.
    fn inspections(&self, place: &Place) -> Option<Vec<Need>> {
        let inspections = self.deployments.iter().filter(|one| one.inspects);
        let mut needs: Vec<Need> = inspections
            .map(|one| Need::of(Some(&one.part.executor.name), place))
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
                "another executor: none can wait for itself",
            );
        }
        // Jina refuses it for external Executors that join; it can be had for all of them.
        let reduce = !section.flag(&["no_reduce", "disable_reduce"], report);
        let floating = section.flag(&["floating"], report);
        let when = section.find(&["when"]);
        let condition = when
            .as_ref()
            .and_then(|entry| executor::condition(entry, self.typing, report));
        let filter = when
            .zip(condition.as_ref())
            .and_then(|(entry, condition)| graph::filter(&entry, condition, report));
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
            if let Some(stand_in) = self.stand_ins.get(&need.name) {
                need.name.clone_from(stand_in);
            }
        }
        // What was named twice, once by its stand-in, is still waited for once.
        let mut seen = HashSet::new();
        deployment
            .needs
            .retain(|need| seen.insert(need.name.clone()));
        if !deployment.floating {
            self.last = Some(deployment.part.executor.name.clone());
        }
        self.deployments.push(deployment);
    }

    /// The name of a deployment: its own, or the default with Jina's number.
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
            entry.wrong::<()>(
                "a name as Python has them: letters, digits and `_`, no digit first",
                report,
            );
        } else if self.is_taken(&name) {
            entry.wrong::<()>("a name that no other executor has", report);
            // Jina's new name keeps what follows from the order from being reported as well.
            return self.free_name(&name);
        }
        name
    }

    fn is_taken(&self, name: &str) -> bool {
        self.deployments
            .iter()
            .any(|deployment| deployment.part.executor.name == name)
    }

    /// Jina puts the number of deployments behind a name that is taken.
    fn free_name(&self, name: &str) -> String {
        let numbered = (self.deployments.len()..).map(|number| format!("{name}{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        names.find(|name| !self.is_taken(name)).unwrap_or_default()
    }

    /// The names in `needs`, each once; `None` without the key or with an empty list.
    fn needs(&self, section: &Section<'_>, report: &mut Report) -> Option<Vec<Need>> {
        let mut needs: Vec<Need> = Vec::new();
        for word in section.words(&["needs"], Commas::Split, report) {
            let name = Some(word.text).filter(|name| name != GATEWAY);
            if !needs.iter().any(|need| need.name == name) {
                let found = word.entry.node.found();
                needs.push(Need {
                    name,
                    place: word.entry.place,
                    found,
                });
            }
        }
        Some(needs).filter(|needs| !needs.is_empty())
    }

    fn follow_last(&self, section: &Section<'_>) -> Need {
        Need::of(self.last.as_deref(), &section.place())
    }

    fn refuse_needs(&self, section: &Section<'_>, report: &mut Report) {
        if let Some(entry) = section.find(&["needs"]) {
            report.error(
                &entry.place,
                "`needs` beside a method that chooses for itself",
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
                .wrong("HANG, REMOVE or COLLECT", report)
                .unwrap_or_default(),
        }
    }
}

fn is_identifier(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|c| !c.is_numeric())
}

const GATEWAY: &str = "gateway";
