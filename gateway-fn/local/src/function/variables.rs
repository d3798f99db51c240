//! The environment variables of a function's processes: those that Lambda sets (AWS Lambda, "Defined runtime environment
//! variables"), those by which the AWS SDKs find the emulator, and the user's own.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::{
    aws::REGION,
    options::{FunctionOptions, Options, RuntimeSource, Target},
};

/// The variable by which the processes of one execution environment are found. Children inherit it.
pub(super) const LOG_STREAM: &str = "AWS_LAMBDA_LOG_STREAM_NAME";

/// The variables whose values are the same for all functions. The credentials are placeholders.
const FIXED: [(&str, &str); 11] = [
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    // By this variable of `sam local`, programs and libraries recognise an emulator.
    ("AWS_SAM_LOCAL", "true"),
    ("AWS_REGION", REGION),
    ("AWS_DEFAULT_REGION", REGION),
    ("AWS_ACCESS_KEY_ID", "local"),
    ("AWS_SECRET_ACCESS_KEY", "local"),
    ("AWS_SESSION_TOKEN", "local"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
    ("TZ", ":UTC"),
    ("_HANDLER", "bootstrap"),
];

/// The parts of the emulator that a process has to find.
#[derive(Clone, Debug)]
pub(super) struct Endpoints<'a> {
    /// HOST:PORT of the Runtime API.
    pub(super) runtime_api: String,
    /// HOST:PORT of the Invoke API, for functions that invoke each other.
    pub(super) lambda: Option<String>,
    /// The URL of the API Gateway Management API, with the stage.
    pub(super) connections_url: &'a str,
}

/// A variable's name and value.
pub(super) type Variable = (String, String);

/// Returns the variables of a process, those of the user last: the last of several with one name counts.
pub(super) fn variables(function: &FunctionOptions, endpoints: &Endpoints<'_>) -> Vec<Variable> {
    let name = &function.name;
    let memory = function.memory_mib.to_string();
    let group = format!("/aws/lambda/{name}");
    let (connections_url, runtime_api) = (endpoints.connections_url, &endpoints.runtime_api);
    let mut variables: Vec<_> = owned(FIXED).collect();
    variables.extend(owned([
        ("AWS_LAMBDA_RUNTIME_API", runtime_api),
        ("AWS_LAMBDA_FUNCTION_NAME", name),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &group),
        // The SDKs read the name that ends in API, which is the service's id. The shorter name is set for users who expect it.
        ("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", connections_url),
        ("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENT", connections_url),
    ]));
    if let Some(lambda) = &endpoints.lambda {
        variables.extend(owned([(
            "AWS_ENDPOINT_URL_LAMBDA",
            &format!("http://{lambda}"),
        )]));
    }
    if let RuntimeSource::Bootstrap(bootstrap) = &function.runtime {
        let root = directory(bootstrap);
        variables.extend(owned([("LAMBDA_TASK_ROOT", &root.to_string_lossy())]));
    }
    variables.extend(function.env.iter().cloned());
    // Each environment has its own, as on Lambda.
    let stream = format!("local/[$LATEST]{}", Uuid::new_v4().simple());
    variables.extend(owned([(LOG_STREAM, &stream)]));
    variables
}

fn owned<const N: usize>(variables: [(&str, &str); N]) -> impl Iterator<Item = Variable> + use<N> {
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    variables.into_iter()
}

/// Returns the directory of a bootstrap, in which its processes run. The path may be relative to the emulator's directory.
pub(super) fn directory(bootstrap: &Path) -> PathBuf {
    let program = std::path::absolute(bootstrap).unwrap_or_else(|_| bootstrap.to_owned());
    let directory = program.parent().map(Path::to_owned);
    directory.unwrap_or_else(|| PathBuf::from("/"))
}

impl Options {
    /// Returns the variables that the processes of the function behind the APIs will have; empty if the emulator does not
    /// start them. The last of several with one name counts. A port that the system will choose is 0, and so is that of the
    /// Runtime API.
    #[must_use]
    pub fn function_variables(&self) -> Vec<(String, String)> {
        let function = match &self.target {
            Target::Functions(functions) => functions.first(),
            Target::Endpoint { .. } => None,
        };
        let starts = |function: &&FunctionOptions| function.runtime != RuntimeSource::External;
        let Some(function) = function.filter(starts) else {
            return Vec::new();
        };
        let (host, prefix) = (self.host, self.path_prefix());
        let address = |port| std::net::SocketAddr::new(host, port).to_string();
        let endpoints = Endpoints {
            runtime_api: "127.0.0.1:0".to_owned(),
            lambda: Some(address(self.lambda_port)),
            connections_url: &format!("http://{}{prefix}", address(self.websocket_port)),
        };
        variables(function, &endpoints)
    }
}
