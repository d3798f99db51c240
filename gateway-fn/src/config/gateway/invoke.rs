//! The key `invoke` -> how `lambda://` Executors are invoked.

use crate::config::{
    fault::Report,
    known,
    section::{Layer, Section},
};

/// How `lambda://` Executors are invoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvokeConfig {}

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> InvokeConfig {
    let Some((place, entries)) = section.map(&["invoke"], report) else {
        return InvokeConfig::default();
    };
    known::check_own(&place, entries, KEYS, report);
    let _section = Section::new([Layer::of_file(place, entries)]);
    InvokeConfig {}
}

const KEYS: &[&str] = &[];
