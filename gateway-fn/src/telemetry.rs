//! What is told of the requests that went through: metrics and traces, in the forms that AWS takes.

pub mod emf;

pub mod xray;
