//! The key `function` -> how the Gateway serves as a Lambda function.

mod websocket;

use crate::config::{
    fault::Report,
    known,
    section::{Layer, Section},
};

pub use websocket::WebSocketConfig;

/// How the Gateway serves as a Lambda function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionConfig {
    /// How messages of a WebSocket API are answered.
    pub websocket: WebSocketConfig,
}

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> FunctionConfig {
    let Some((place, entries)) = section.map(&["function"], report) else {
        return FunctionConfig::default();
    };
    known::check_own(&place, entries, KEYS, report);
    let section = Section::new([Layer::of_file(place, entries)]);
    FunctionConfig {
        websocket: websocket::read(&section, report),
    }
}

const KEYS: &[&str] = &["websocket"];
