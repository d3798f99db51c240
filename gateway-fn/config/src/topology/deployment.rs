//! One deployment on its way into the graph, and what it waits for.

use crate::{address::Address, diagnostic::Place, executor::ExecutorConfig, graph::Part};

/// One node in the making.
pub(super) struct Deployment {
    pub(super) part: Part,
    pub(super) place: Place,
    pub(super) needs: Vec<Need>,
    pub(super) floating: bool,
    pub(super) inspects: bool,
}

/// What a node waits for.
#[derive(Clone)]
pub(super) struct Need {
    /// `None` is the Gateway.
    pub(super) name: Option<String>,
    pub(super) place: Place,
    /// What a fault says was found; not the name, which may come from a variable.
    pub(super) found: String,
}

impl Need {
    /// A need that nobody wrote down.
    pub(super) fn of(name: Option<&str>, place: &Place) -> Self {
        Self {
            name: name.map(str::to_owned),
            place: place.clone(),
            found: "a need that follows from the order".to_owned(),
        }
    }
}

impl Deployment {
    /// A node that only passes on what it gets.
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
