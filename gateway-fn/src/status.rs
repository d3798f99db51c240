//! What `/status` and `jina.JinaInfoRPC/_status` report: the running Flow, the bytes that went to Executors and came
//! from them, and the process.

mod process_info;

mod streamer_args;

use std::sync::Arc;

use executor_fn::info::{Traffic, jina_info};
use flowgate_config::Config;
use flowgate_proto::jina::JinaInfoProto;

use self::streamer_args::streamer_args;

pub use process_info::ProcessInfo;

/// The status of a Gateway. Clones share it.
#[derive(Clone, Debug)]
pub struct GatewayStatus(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    streamer_args: String,
    traffic: Arc<Traffic>,
    process: ProcessInfo,
}

impl GatewayStatus {
    /// The status of the Gateway of this Flow, whose calls `traffic` counts.
    #[must_use]
    pub fn new(config: &Config, traffic: Arc<Traffic>, process: ProcessInfo) -> Self {
        Self(Arc::new(Shared {
            streamer_args: streamer_args(config),
            traffic,
            process,
        }))
    }

    /// Returns the answer to `/status` and `_status`.
    #[must_use]
    pub fn info(&self) -> JinaInfoProto {
        let Shared {
            streamer_args,
            traffic,
            process,
        } = &*self.0;
        let mut info = jina_info(|name| match name {
            "JINA_STREAMER_ARGS" => Some(streamer_args.clone()),
            name => traffic.variable(name).or_else(|| process.variable(name)),
        });
        info.envs.extend(process.function_entries());
        info
    }

    /// The process that serves the Flow.
    #[must_use]
    pub fn process(&self) -> &ProcessInfo {
        &self.0.process
    }

    /// The bytes that went to Executors and came from them.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }
}
