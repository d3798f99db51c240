//! An Executor as a whole program: arguments and environment -> options, then serving until a signal.

use std::{net::Ipv4Addr, num::ParseIntError};

use crate::{Ended, Executor, Identity, ServeError, ServeOptions, serve_on, stop_signal};

use super::{container::bind, lambda};

/// What is wrong with a program's arguments or environment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionError {
    /// No such option.
    #[error("unexpected argument {argument:?}: there are --port and --name")]
    Unexpected {
        /// As it was given.
        argument: String,
    },
    /// An option is the last argument.
    #[error("{option} needs a value")]
    Missing {
        /// The option.
        option: String,
    },
    /// The port is none.
    #[error("{value:?} is no port")]
    Port {
        /// As it was given.
        value: String,
        /// What is wrong with it.
        source: ParseIntError,
    },
    /// A variable of the environment is missing, or not what it should be.
    #[error("the variable {variable} is {value:?}: {expected}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// As it is set; empty if it is not.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// The whole of a program's `main`: takes [`ServeOptions::from_args_and_env`], prints one line with
/// the address when the Executor listens, and serves it until SIGTERM or SIGINT. On Lambda it answers
/// invocations instead, as [`serve`](crate::serve) does there.
///
/// # Errors
/// When the options do not hold, the port cannot be had, or the server fails.
#[expect(
    clippy::print_stdout,
    reason = "the address is for the person who started the program"
)]
pub async fn run(executor: Executor) -> Result<Ended, ServeError> {
    let args = std::env::args_os().skip(1);
    let args = args.map(|argument| argument.to_string_lossy().into_owned());
    let env = |key: &str| std::env::var(key).ok();
    let options = ServeOptions::from_args_and_env(args, env)?;
    if lambda::is_here(&env) {
        return lambda::serve(executor, options.identity, &env).await;
    }
    let listener = bind(options.address).await?;
    let stop = stop_signal()?;
    if let Ok(address) = listener.local_addr() {
        println!("{} listens on {address}", executor.name());
    }
    serve_on(listener, executor, options, stop).await
}

impl ServeOptions {
    /// The options that a program is started with, the defaults for the rest:
    /// - `--port P`, else the variable `PORT`, else any free port;
    /// - `--name N`, else the variable `JINA_DEPLOYMENT_NAME`, which Kubernetes manifests of Jina set:
    ///   the deployment's name (`exec0`) or that of one process of it (`exec0/rep-1`).
    ///
    /// `args` come without the program's own name.
    ///
    /// # Errors
    /// When there is any other argument, or the port is no number up to 65535.
    pub fn from_args_and_env(
        args: impl IntoIterator<Item = String>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, OptionError> {
        let variable = |key| env(key).filter(|value| !value.is_empty());
        let (mut port, mut name) = (variable("PORT"), variable("JINA_DEPLOYMENT_NAME"));
        let mut args = args.into_iter();
        while let Some(argument) = args.next() {
            let (option, value) = match argument.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let place = match option {
                "--port" => &mut port,
                "--name" => &mut name,
                _ => return Err(OptionError::Unexpected { argument }),
            };
            let value = value.or_else(|| args.next());
            *place = Some(value.ok_or_else(|| OptionError::Missing {
                option: option.to_owned(),
            })?);
        }
        let port = port.map_or(Ok(0), |value| {
            let port = value.parse();
            port.map_err(|source| OptionError::Port { value, source })
        })?;
        Ok(Self {
            address: (Ipv4Addr::UNSPECIFIED, port).into(),
            identity: name.map(identity),
            ..Self::default()
        })
    }
}

fn identity(name: String) -> Identity {
    match name.split_once('/') {
        Some((deployment, _)) => Identity {
            deployment: deployment.to_owned(),
            runtime: name,
        },
        None => Identity::of(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<(u16, Option<Identity>), OptionError> {
        let args = args.iter().map(|argument| (*argument).to_owned());
        let options = ServeOptions::from_args_and_env(args, |key| {
            let found = env.iter().find(|(name, _)| *name == key)?;
            Some(found.1.to_owned())
        })?;
        Ok((options.address.port(), options.identity))
    }

    #[test]
    fn arguments_go_before_variables() {
        assert_eq!(options(&[], &[]), Ok((0, None)));
        let env = [("PORT", "9000"), ("JINA_DEPLOYMENT_NAME", "exec0/rep-1")];
        let replica = Identity {
            deployment: "exec0".to_owned(),
            runtime: "exec0/rep-1".to_owned(),
        };
        assert_eq!(options(&[], &env), Ok((9000, Some(replica))));
        let named = Some(Identity::of("exec1"));
        let args = ["--port", "9001", "--name=exec1"];
        assert_eq!(options(&args, &env), Ok((9001, named)));
    }

    #[test]
    fn what_does_not_hold_is_told() {
        for (args, told) in [
            (&["--port"][..], "--port needs a value"),
            (&["--port", "70000"], "\"70000\" is no port"),
            (
                &["9000"],
                "unexpected argument \"9000\": there are --port and --name",
            ),
        ] {
            assert_eq!(options(args, &[]).expect_err(told).to_string(), told);
        }
    }
}
