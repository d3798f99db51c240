//! How the process is run on AWS Lambda, and what the programs of every host share. The long-running host is the
//! package `flowgate`.

pub mod lambda;

pub mod program;
