//! Checks the Flow of the function behind the APIs before anything starts, with the variables that the function will have.

use std::path::Path;

use flowgate_config::Config;
use flowgate_local::{FunctionOptions, RuntimeSource, Target};
use gateway::host::program::{Exit, is_yaml, print_config_errors, print_error};

/// Checks the Flow that the first function gets by `--flow` or `FLOWGATE_FLOW`. A function whose runtime the user starts has
/// other variables, and is not checked.
///
/// # Errors
/// [`Exit::Usage`] if the Flow is invalid; its errors are printed.
pub(super) fn check(target: &Target) -> Result<(), Exit> {
    let Target::Functions(functions) = target else {
        return Ok(());
    };
    let Some(function) = functions.first() else {
        return Ok(());
    };
    let RuntimeSource::Bootstrap(bootstrap) = &function.runtime else {
        return Ok(());
    };
    let Some(flow) = variable(function, "FLOWGATE_FLOW").filter(|flow| !flow.is_empty()) else {
        return Ok(());
    };
    let (text, file) = read(flow, bootstrap)?;
    Config::from_yaml(&text, &file, &|name| lambda_variable(function, name))
        .map(drop)
        .map_err(|errors| {
            print_config_errors(&errors);
            Exit::Usage
        })
}

/// Returns the text of the Flow, and its name in errors. The function reads a relative path in its bootstrap's directory.
fn read(flow: &str, bootstrap: &Path) -> Result<(String, String), Exit> {
    if is_yaml(flow) {
        return Ok((flow.to_owned(), "FLOWGATE_FLOW".to_owned()));
    }
    let directory = bootstrap.parent().unwrap_or_else(|| Path::new("."));
    let path = directory.join(flow);
    let file = path.to_string_lossy().into_owned();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((text, file)),
        Err(error) => {
            print_error(&format!("{file}: cannot read the Flow file: {error}"));
            Err(Exit::Usage)
        }
    }
}

/// Returns a variable that the user sets for the function; the last of several counts.
fn variable<'a>(function: &'a FunctionOptions, name: &str) -> Option<&'a str> {
    let mut variables = function.env.iter().rev();
    let (_, value) = variables.find(|(key, _)| key == name)?;
    Some(value)
}

/// Returns a variable as the function will see it: one of the user's, or one of those that Flows are read by.
fn lambda_variable(function: &FunctionOptions, name: &str) -> Option<String> {
    let own = variable(function, name).map(str::to_owned);
    own.or_else(|| match name {
        "AWS_LAMBDA_FUNCTION_NAME" => Some(function.name.clone()),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => Some(function.memory_mib.to_string()),
        "AWS_REGION" | "AWS_DEFAULT_REGION" => Some(flowgate_local::REGION.to_owned()),
        _ => None,
    })
}
