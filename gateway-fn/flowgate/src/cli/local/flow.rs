//! Checks the Flow of the function behind the APIs before anything starts, with the variables that the function will have.

use std::path::Path;

use flowgate_config::Config;
use flowgate_local::{Options, RuntimeSource, Target};
use gateway::host::program::{Exit, is_yaml, print_config_errors, print_error};

/// Checks the Flow that the first function gets by `--flow` or `FLOWGATE_FLOW`, or that it finds in `flow.yml` beside its
/// bootstrap. A function whose runtime the user starts has other variables, and is not checked.
///
/// # Errors
/// [`Exit::Usage`] if the Flow is invalid; its errors are printed.
pub(super) fn check(options: &Options) -> Result<(), Exit> {
    let Some(bootstrap) = bootstrap(&options.target) else {
        return Ok(());
    };
    let variables = options.function_variables();
    // The last of several counts.
    let variable = |name: &str| {
        let (_, value) = variables.iter().rfind(|(key, _)| key == name)?;
        Some(value.clone())
    };
    let flow = variable("FLOWGATE_FLOW").filter(|flow| !flow.is_empty());
    let Some((text, file)) = read(flow, bootstrap)? else {
        return Ok(());
    };
    Config::from_yaml(&text, &file, &variable)
        .map(drop)
        .map_err(|errors| {
            print_config_errors(&errors);
            Exit::Usage
        })
}

/// Returns the program of the function behind the APIs, if the emulator starts it.
fn bootstrap(target: &Target) -> Option<&Path> {
    let Target::Functions(functions) = target else {
        return None;
    };
    match &functions.first()?.runtime {
        RuntimeSource::Bootstrap(bootstrap) => Some(bootstrap),
        RuntimeSource::External => None,
    }
}

/// Returns the text of the Flow, and its name in errors; `None` if the function serves the Flow that it embeds. The
/// function reads a relative path in its bootstrap's directory.
fn read(flow: Option<String>, bootstrap: &Path) -> Result<Option<(String, String)>, Exit> {
    let directory = bootstrap.parent().unwrap_or_else(|| Path::new("."));
    let path = match flow {
        Some(flow) if is_yaml(&flow) => return Ok(Some((flow, "FLOWGATE_FLOW".to_owned()))),
        Some(flow) => directory.join(flow),
        None => {
            let bundled = directory.join("flow.yml");
            if !bundled.is_file() {
                return Ok(None);
            }
            bundled
        }
    };
    let file = path.to_string_lossy().into_owned();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((text, file))),
        Err(error) => {
            print_error(&format!("{file}: cannot read the Flow file: {error}"));
            Err(Exit::Usage)
        }
    }
}
