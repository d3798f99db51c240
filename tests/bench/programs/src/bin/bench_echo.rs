//! Serves the echo Executor of the bench: `bench_echo PORT [THREADS]`.

use std::{env, io, net::TcpListener};

use flowgate_bench::echo;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let port = number(arguments.next())?;
    let threads = arguments.next().map_or(Ok(2), |text| number(Some(text)))?;
    echo::serve(&TcpListener::bind(("127.0.0.1", port))?, threads.into())
}

fn number(text: Option<String>) -> io::Result<u16> {
    let text = text.ok_or_else(|| io::Error::other("usage: bench_echo PORT [THREADS]"))?;
    text.parse().map_err(io::Error::other)
}
