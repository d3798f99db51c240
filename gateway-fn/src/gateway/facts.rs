//! What a host knows about this process, for `/status` and `_status`.

use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What a host knows about this process. Nothing in it is secret.
#[derive(Debug, Default)]
pub struct Facts {
    /// The `JINA_*` variables that are set, and those by which Lambda describes a function.
    variables: BTreeMap<String, String>,
    /// How long it took until the first invocation could come; never set in a container.
    init: OnceLock<Duration>,
    invocations: AtomicU64,
}

impl Facts {
    /// What the environment says.
    #[must_use]
    pub fn of_environment(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let lambda = FUNCTION
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), env(name)?)));
        Self {
            variables: executor_fn::info::variables(env).chain(lambda).collect(),
            ..Self::default()
        }
    }

    /// Notes that invocations can come now.
    pub fn note_init(&self, took: Duration) {
        // The first counts.
        let _ = self.init.set(took);
    }

    /// Notes one more invocation, and says whether it waited for INIT: it is the first, and of a process that was not
    /// started long before, as with provisioned concurrency.
    pub fn note_invocation(&self) -> bool {
        self.invocations.fetch_add(1, Ordering::Relaxed) == 0 && self.is_on_demand()
    }

    fn is_on_demand(&self) -> bool {
        let kind = self.variables.get("AWS_LAMBDA_INITIALIZATION_TYPE");
        kind.is_none_or(|kind| kind == "on-demand")
    }

    /// How long INIT took, on Lambda.
    #[must_use]
    pub fn init(&self) -> Option<Duration> {
        self.init.get().copied()
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// What Jina does not know: the function that this is, and whether it has just been started.
    pub(super) fn of_function(&self) -> impl Iterator<Item = (String, String)> {
        let told = FUNCTION
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.variable(name)?)));
        let started = self.init.get().into_iter().flat_map(|init| {
            let is_first = self.invocations.load(Ordering::Relaxed) <= 1;
            let is_cold = is_first && self.is_on_demand();
            let start = if is_cold { "cold" } else { "warm" };
            [
                ("FLOWGATE_START".to_owned(), start.to_owned()),
                (
                    "FLOWGATE_INIT_MS".to_owned(),
                    format!("{:.1}", init.as_secs_f64() * 1e3),
                ),
            ]
        });
        told.chain(started)
    }
}

/// The variables of a function's environment that say which one it is (AWS Lambda, "Defined runtime environment
/// variables").
const FUNCTION: [&str; 6] = [
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_REGION",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_where_they_are() {
        let facts = Facts::of_environment(&|name| Some(format!("{name}'s")));
        assert_eq!(
            facts.variable("AWS_REGION").as_deref(),
            Some("AWS_REGION's")
        );
        assert_eq!(facts.variable("JINA_AUTH_TOKEN").as_deref(), Some("(set)"));
        assert_eq!(facts.variable("AWS_SECRET_ACCESS_KEY"), None);
    }

    #[test]
    fn a_function_is_cold_until_its_second_invocation() {
        let facts = Facts::of_environment(&|_| None);
        assert_eq!(facts.of_function().count(), 0, "no function");
        facts.note_init(Duration::from_millis(12));
        let told = || facts.of_function().collect::<BTreeMap<_, _>>();
        assert!(facts.note_invocation());
        assert_eq!(told()["FLOWGATE_START"], "cold");
        assert!(!facts.note_invocation());
        assert_eq!(told()["FLOWGATE_START"], "warm");
        assert_eq!(told()["FLOWGATE_INIT_MS"], "12.0");
    }

    #[test]
    fn a_provisioned_function_is_warm_from_the_first() {
        let kind = |name: &str| {
            let is_kind = name == "AWS_LAMBDA_INITIALIZATION_TYPE";
            is_kind.then(|| "provisioned-concurrency".to_owned())
        };
        let facts = Facts::of_environment(&kind);
        facts.note_init(Duration::from_millis(12));
        assert!(!facts.note_invocation());
        let told: BTreeMap<_, _> = facts.of_function().collect();
        assert_eq!(told["FLOWGATE_START"], "warm");
    }
}
