//! A deployment before it becomes a node of the graph, and the deployments that it needs.

use crate::{address::Address, diagnostic::Place, executor::ExecutorConfig, graph::Part};

/// A deployment whose `needs` are still names.
pub(super) struct Deployment {
    pub(super) part: Part,
    pub(super) place: Place,
    pub(super) needs: Vec<Need>,
    pub(super) floating: bool,
    pub(super) inspects: bool,
}

/// One deployment that another one needs.
#[derive(Clone)]
pub(super) struct Need {
    /// `None` is the Gateway.
    pub(super) name: Option<String>,
    pub(super) place: Place,
    /// The description for errors; not the name, which may be the value of a variable.
    pub(super) found: String,
}

impl Need {
    /// A need that follows from the order of the file.
    pub(super) fn of(name: Option<&str>, place: &Place) -> Self {
        Self {
            name: name.map(str::to_owned),
            place: place.clone(),
            found: "a need that follows from the order".to_owned(),
        }
    }
}

impl Deployment {
    /// A deployment that returns its requests unchanged.
    pub(super) fn pass_through(
        name: String,
        place: Place,
        needs: Vec<Need>,
        floating: bool,
    ) -> Self {
        let executor = ExecutorConfig {
            name,
            addresses: vec![Address::pass_through()],
            metadata: Vec::new(),
            when: None,
        };
        Self {
            part: Part {
                executor,
                filter: None,
                reduce: true,
            },
            place,
            needs,
            floating,
            inspects: false,
        }
    }
}
