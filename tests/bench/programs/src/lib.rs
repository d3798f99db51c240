//! The parts of the bench's programs: the echo Executor, and the load client for what h2load and wrk cannot send.

pub mod client;
pub mod echo;
