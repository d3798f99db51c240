//! The Executor library.
