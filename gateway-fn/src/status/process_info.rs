//! What a host knows about its process: the environment variables that may be shown, and on Lambda the cold start.

use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What a host knows about its process. It holds no secrets.
#[derive(Debug, Default)]
pub struct ProcessInfo {
    /// The `JINA_*` variables that are set, and those by which Lambda describes a function.
    variables: BTreeMap<String, String>,
    /// How long INIT took; never set in a container.
    init: OnceLock<Duration>,
    invocations: AtomicU64,
}

impl ProcessInfo {
    /// Reads the variables that may be shown from the environment.
    #[must_use]
    pub fn from_environment(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let lambda = FUNCTION_VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), env(name)?)));
        Self {
            variables: executor_fn::info::jina_variables(env)
                .chain(lambda)
                .collect(),
            ..Self::default()
        }
    }

    /// Notes that INIT is over, and how long it took. Only the first call has an effect.
    pub fn note_init(&self, duration: Duration) {
        let _ = self.init.set(duration);
    }

    /// Counts an invocation and returns whether it is a cold start: the first one, in a process that was started for it
    /// and not in advance, as with provisioned concurrency.
    pub fn note_invocation(&self) -> bool {
        self.invocations.fetch_add(1, Ordering::Relaxed) == 0 && self.is_on_demand()
    }

    fn is_on_demand(&self) -> bool {
        let kind = self.variables.get("AWS_LAMBDA_INITIALIZATION_TYPE");
        kind.is_none_or(|kind| kind == "on-demand")
    }

    /// How long INIT took; `None` outside of Lambda.
    #[must_use]
    pub fn init(&self) -> Option<Duration> {
        self.init.get().copied()
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// Returns the entries of the status's answer that Jina does not have: which function this is, whether its latest
    /// start was cold (`FLOWGATE_START`), and how long INIT took (`FLOWGATE_INIT_MS`). These two are not environment
    /// variables, in spite of their names.
    pub(super) fn function_entries(&self) -> impl Iterator<Item = (String, String)> {
        let variables = FUNCTION_VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.variable(name)?)));
        let start = self.init.get().into_iter().flat_map(|init| {
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
        variables.chain(start)
    }
}

/// The environment variables by which Lambda describes a function (AWS Lambda, "Defined runtime environment variables").
const FUNCTION_VARIABLES: [&str; 6] = [
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
    fn secrets_are_not_shown() {
        let process = ProcessInfo::from_environment(&|name| Some(format!("{name}'s")));
        assert_eq!(
            process.variable("AWS_REGION").as_deref(),
            Some("AWS_REGION's")
        );
        assert_eq!(
            process.variable("JINA_AUTH_TOKEN").as_deref(),
            Some("(set)")
        );
        assert_eq!(process.variable("AWS_SECRET_ACCESS_KEY"), None);
    }

    #[test]
    fn a_function_is_cold_until_its_second_invocation() {
        let process = ProcessInfo::from_environment(&|_| None);
        assert_eq!(process.function_entries().count(), 0, "not a function");
        process.note_init(Duration::from_millis(12));
        let entries = || process.function_entries().collect::<BTreeMap<_, _>>();
        assert!(process.note_invocation());
        assert_eq!(entries()["FLOWGATE_START"], "cold");
        assert!(!process.note_invocation());
        assert_eq!(entries()["FLOWGATE_START"], "warm");
        assert_eq!(entries()["FLOWGATE_INIT_MS"], "12.0");
    }

    #[test]
    fn a_provisioned_function_is_warm_from_the_first() {
        let provisioned = |name: &str| {
            let is_kind = name == "AWS_LAMBDA_INITIALIZATION_TYPE";
            is_kind.then(|| "provisioned-concurrency".to_owned())
        };
        let process = ProcessInfo::from_environment(&provisioned);
        process.note_init(Duration::from_millis(12));
        assert!(!process.note_invocation());
        let entries: BTreeMap<_, _> = process.function_entries().collect();
        assert_eq!(entries["FLOWGATE_START"], "warm");
    }
}
