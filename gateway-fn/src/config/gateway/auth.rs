//! The key `auth` -> who may call.

use crate::config::{
    fault::Report,
    known,
    section::{Layer, Section},
};

/// Who may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthConfig {}

pub(super) fn read(section: &Section<'_>, report: &mut Report) -> AuthConfig {
    let Some((place, entries)) = section.map(&["auth"], report) else {
        return AuthConfig::default();
    };
    known::check_own(&place, entries, KEYS, report);
    let _section = Section::new([Layer::of_file(place, entries)]);
    AuthConfig {}
}

const KEYS: &[&str] = &[];
