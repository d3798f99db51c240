//! The key `function` -> how the Gateway serves as a Lambda function.

use crate::config::{
    fault::Report,
    known,
    section::{Layer, Section},
};

/// How the Gateway serves as a Lambda function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionConfig {}

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> FunctionConfig {
    let Some((place, entries)) = section.map(&["function"], report) else {
        return FunctionConfig::default();
    };
    known::check_own(&place, entries, KEYS, report);
    let _section = Section::new([Layer::of_file(place, entries)]);
    FunctionConfig {}
}

const KEYS: &[&str] = &[];
