//! The endpoints that the first answer of a function lists.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

/// What the first answer said about the Executor's endpoints.
#[derive(Debug, Default)]
pub(super) struct ListedEndpoints {
    /// `Some(None)` if the function did not list them: it does not know `listEndpoints`, or could not list them in time.
    listed: OnceLock<Option<Vec<String>>>,
    is_taken: AtomicBool,
}

impl ListedEndpoints {
    /// Whether an invocation should ask for the endpoints.
    pub(super) fn are_wanted(&self) -> bool {
        self.listed.get().is_none()
    }

    /// Keeps what an answer listed. Only the first answer counts: the endpoints do not change while a function runs.
    pub(super) fn keep(&self, endpoints: Option<Vec<String>>) {
        let _ = self.listed.set(endpoints);
    }

    /// Returns what the first answer listed, once.
    pub(super) fn take(&self) -> Option<Option<Vec<String>>> {
        let listed = self.listed.get()?;
        let is_first = !self.is_taken.swap(true, Ordering::Relaxed);
        is_first.then(|| listed.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answers_list_is_taken_once() {
        let endpoints = ListedEndpoints::default();
        assert!(endpoints.are_wanted());
        assert_eq!(endpoints.take(), None, "no answer yet");
        endpoints.keep(Some(vec!["/a".to_owned()]));
        endpoints.keep(None);
        assert!(!endpoints.are_wanted());
        assert_eq!(endpoints.take(), Some(Some(vec!["/a".to_owned()])));
        assert_eq!(endpoints.take(), None);
    }
}
