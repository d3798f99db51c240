//! The Executors that are compiled into this process, by the name in `inproc://NAME`.

use std::{collections::BTreeMap, fmt, sync::Arc};

use executor_fn::Executor;

/// Makes an Executor. Each deployment gets its own, as Jina starts one process for each.
type Make = Arc<dyn Fn() -> Executor + Send + Sync>;

/// The Executors that a Flow can name by `inproc://`.
#[derive(Clone)]
pub struct Registry(BTreeMap<String, Make>);

/// The Executors that Flowgate itself brings: `greet` and `pass_through`.
impl Default for Registry {
    fn default() -> Self {
        Self(BTreeMap::new())
            .with("greet", executor_fn::builtin::greeter)
            .with("pass_through", executor_fn::builtin::pass_through)
    }
}

impl Registry {
    /// Adds an Executor under a name, in place of an earlier one of that name.
    #[must_use]
    pub fn with(mut self, name: &str, make: impl Fn() -> Executor + Send + Sync + 'static) -> Self {
        self.0.insert(name.to_owned(), Arc::new(make));
        self
    }

    /// Makes the Executor of this name.
    #[must_use]
    pub fn make(&self, name: &str) -> Option<Executor> {
        self.0.get(name).map(|make| make())
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}
