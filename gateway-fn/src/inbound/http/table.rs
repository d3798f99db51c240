//! Finds the route for a request's method and path by Starlette's rules.

use http::Method;

use super::{
    path,
    routes::{Action, Route},
};

/// Routes in the order in which they are tried.
#[derive(Debug)]
pub(super) struct RouteTable(Vec<Route>);

/// The outcome of a lookup.
#[derive(Debug)]
pub(super) enum RouteMatch<'a> {
    Found(&'a Action),
    /// The path exists for other methods, listed as the header `allow` lists them.
    MethodNotAllowed {
        allow: String,
    },
    /// The path does not exist, but this one with or without a slash at its end does.
    Redirect(String),
    NotFound,
}

impl RouteTable {
    pub(super) const fn new(routes: Vec<Route>) -> Self {
        Self(routes)
    }

    pub(super) fn routes(&self) -> &[Route] {
        &self.0
    }

    /// Returns the first route that matches. A linear search: even large Flows have only a few dozen routes.
    pub(super) fn find(&self, method: &Method, raw_path: &str) -> RouteMatch<'_> {
        if method == Method::CONNECT {
            // It names a host to connect to, and no path.
            return RouteMatch::MethodNotAllowed {
                allow: self.methods().join(", "),
            };
        }
        let path = path::decode(raw_path);
        let mut allow: Vec<&str> = Vec::new();
        for route in self.with_path(&path) {
            if route.methods.contains(method) {
                return RouteMatch::Found(&route.action);
            }
            allow.extend(route.methods.iter().map(Method::as_str));
        }
        if !allow.is_empty() {
            return RouteMatch::MethodNotAllowed {
                allow: allow.join(", "),
            };
        }
        let redirect = toggle_trailing_slash(raw_path);
        if path != "/" && self.with_path(&path::decode(&redirect)).next().is_some() {
            return RouteMatch::Redirect(redirect);
        }
        RouteMatch::NotFound
    }

    /// Returns the methods of all routes.
    fn methods(&self) -> Vec<&str> {
        let methods = self.0.iter().flat_map(|route| &route.methods);
        let mut methods: Vec<_> = methods.map(Method::as_str).collect();
        methods.sort_unstable();
        methods.dedup();
        methods
    }

    fn with_path(&self, path: &str) -> impl Iterator<Item = &Route> {
        self.0.iter().filter(move |route| route.path.matches(path))
    }
}

/// Removes the slashes at the end of the path, or adds one if there are none.
fn toggle_trailing_slash(path: &str) -> String {
    if path.ends_with('/') {
        path.trim_end_matches('/').to_owned()
    } else {
        format!("{path}/")
    }
}
