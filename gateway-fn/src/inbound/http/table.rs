//! Method and path -> the route that answers, by Starlette's rules.

use http::Method;

use super::{
    path,
    routes::{Action, Route},
};

/// Routes in the order in which they are tried.
#[derive(Debug)]
pub(super) struct Table(Vec<Route>);

/// What a request's method and path lead to.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Route(&'a Action),
    /// The path exists, but for these methods, written as the header `allow` has them.
    OtherMethods(String),
    /// The path exists with, or without, a slash at its end: this one.
    Elsewhere(String),
    Nothing,
}

impl Table {
    pub(super) const fn new(routes: Vec<Route>) -> Self {
        Self(routes)
    }

    pub(super) fn routes(&self) -> &[Route] {
        &self.0
    }

    /// The first route with this path and method; a few dozen comparisons of short strings at most in any Flow
    /// that people write.
    pub(super) fn find(&self, method: &Method, raw_path: &str) -> Found<'_> {
        let path = path::decode(raw_path);
        let mut allow: Vec<&str> = Vec::new();
        for route in self.at(&path) {
            if route.methods.contains(method) {
                return Found::Route(&route.action);
            }
            allow.extend(route.methods.iter().map(Method::as_str));
        }
        if !allow.is_empty() {
            return Found::OtherMethods(allow.join(", "));
        }
        let elsewhere = other_end(raw_path);
        if path != "/" && self.at(&path::decode(&elsewhere)).next().is_some() {
            return Found::Elsewhere(elsewhere);
        }
        Found::Nothing
    }

    fn at(&self, path: &str) -> impl Iterator<Item = &Route> {
        self.0.iter().filter(move |route| route.path.matches(path))
    }
}

/// The path without the slashes at its end, or with one if it has none.
fn other_end(path: &str) -> String {
    if path.ends_with('/') {
        path.trim_end_matches('/').to_owned()
    } else {
        format!("{path}/")
    }
}
