//! Metrics and traces of the requests that a function has handled, in the formats of AWS.

pub mod emf;

pub mod xray;
