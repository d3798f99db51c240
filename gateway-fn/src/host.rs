//! How the Gateway runs as a process: the AWS Lambda function, and what it shares with the container's host, which is
//! the package `flowgate`.

pub mod lambda;

pub mod program;
