//! Typed access to one section of a Flow. A section notes which keys are read from it, so that it can report all others;
//! it may have layers, because a deployment inherits the Flow's `with`.

use std::{cell::RefCell, ops::RangeInclusive, time::Duration};

use super::{
    diagnostic::{Place, Report, suggestion},
    node::{Key, Node, Value, VariableKind},
};

/// The keys of one section; the first layer that has a key wins.
#[derive(Debug, Default)]
pub(super) struct Section<'a> {
    layers: Vec<Layer<'a>>,
    /// The names of all keys that were asked for, whether they are present or not.
    used: RefCell<Vec<&'static str>>,
}

/// One map of keys and values.
#[derive(Clone, Debug)]
pub(super) struct Layer<'a> {
    pub(super) place: Place,
    pub(super) entries: &'a [(Key, Node)],
    /// Keys that are not inherited from this layer.
    pub(super) without: &'static [&'static str],
    pub(super) key_style: KeyStyle,
}

/// How errors write a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyStyle {
    /// `gateway.timeout_send`
    File,
    /// `--timeout-send`
    CommandLine,
}

/// The value of a key, with its place.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    pub(super) place: Place,
    pub(super) node: &'a Node,
    /// Whether the first layer has the key, so that it is not inherited.
    pub(super) is_own: bool,
}

/// Whether a text is split at its commas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commas {
    Split,
    Keep,
}

/// Whether a URL has a user, and so perhaps a password too.
pub(super) fn has_user(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next();
    authority.unwrap_or_default().contains('@')
}

/// One item of a list of texts.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) text: String,
    pub(super) entry: Entry<'a>,
}

impl<'a> Section<'a> {
    pub(super) fn new(layers: impl IntoIterator<Item = Layer<'a>>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
            used: RefCell::default(),
        }
    }

    /// The place of the first layer.
    pub(super) fn place(&self) -> Place {
        self.layers
            .first()
            .map_or_else(Place::default, |layer| layer.place.clone())
    }

    /// Marks keys as used, so that they are not reported as unknown.
    pub(super) fn mark_used(&self, names: &[&'static str]) {
        let mut used = self.used.borrow_mut();
        for name in names {
            if !used.contains(name) {
                used.push(name);
            }
        }
    }

    /// Returns the names of all keys that were read or marked so far.
    pub(super) fn used_keys(&self) -> Vec<&'static str> {
        self.used.borrow().clone()
    }

    /// Returns the value of a key that has any of these names. A null is treated as missing, and hides
    /// the key in further layers.
    pub(super) fn find(&self, names: &[&'static str]) -> Option<Entry<'a>> {
        self.mark_used(names);
        let layers = self.layers.iter().enumerate();
        let (index, entry) = layers
            .into_iter()
            .find_map(|(index, layer)| Some((index, layer.find(names)?)))?;
        Some(Entry {
            is_own: index == 0,
            ..entry
        })
        .filter(|entry| !entry.node.is_null())
    }

    /// Returns a key exactly as it is written, even if its value is null.
    pub(super) fn find_even_null(&self, name: &'static str) -> Option<(&'a Key, &'a Node)> {
        self.mark_used(&[name]);
        let entries = self.layers.iter().flat_map(|layer| layer.entries);
        entries
            .rev()
            .find(|(key, _)| key.text == name)
            .map(|(key, node)| (key, node))
    }

    /// Returns a boolean; false if it is missing.
    pub(super) fn flag(&self, names: &[&'static str], report: &mut Report) -> bool {
        self.optional_flag(names, report).unwrap_or(false)
    }

    pub(super) fn optional_flag(
        &self,
        names: &[&'static str],
        report: &mut Report,
    ) -> Option<bool> {
        let entry = self.find(names)?;
        match entry.node.guessed() {
            Value::Bool(value) => Some(value),
            Value::Int(1) => Some(true),
            // Jina takes every value but `false` for true; these are the ones that can mean nothing else.
            Value::Text(text)
                if ["on", "yes", "y"].contains(&text.to_ascii_lowercase().as_str()) =>
            {
                Some(true)
            }
            _ => entry.invalid("true or false (1, on, yes and y also mean true)", report),
        }
    }

    /// Returns an integer in a range; `expected` names the range in errors.
    pub(super) fn integer(
        &self,
        names: &[&'static str],
        range: RangeInclusive<i64>,
        expected: &str,
        report: &mut Report,
    ) -> Option<i64> {
        let entry = self.find(names)?;
        match entry.node.guessed() {
            Value::Int(value) if range.contains(&value) => Some(value),
            _ => entry.invalid(expected, report),
        }
    }

    /// Returns a number from 1 to `max`.
    pub(super) fn count(&self, name: &'static str, max: i64, report: &mut Report) -> Option<usize> {
        let expected = format!("a whole number from 1 to {max}");
        let found = self.integer(&[name], 1..=max, &expected, report)?;
        usize::try_from(found).ok()
    }

    /// Returns a duration, written in milliseconds.
    pub(super) fn milliseconds(
        &self,
        name: &'static str,
        range: RangeInclusive<i64>,
        report: &mut Report,
    ) -> Option<Duration> {
        let expected = format!("milliseconds from {} to {}", range.start(), range.end());
        let found = self.integer(&[name], range, &expected, report)?;
        u64::try_from(found).ok().map(Duration::from_millis)
    }

    pub(super) fn text(&self, names: &[&'static str], report: &mut Report) -> Option<String> {
        let entry = self.find(names)?;
        let Some(text) = entry.node.text() else {
            return entry.invalid("a string", report);
        };
        entry.check_variables(report);
        Some(text)
    }

    /// Returns the items of a text or a list of texts. The caller validates each item.
    pub(super) fn items(
        &self,
        names: &[&'static str],
        commas: Commas,
        report: &mut Report,
    ) -> Vec<Item<'a>> {
        self.find(names)
            .map_or_else(Vec::new, |entry| entry.items(commas, report))
    }

    /// Returns the entries of a map, each with its key.
    pub(super) fn children(
        &self,
        name: &'static str,
        report: &mut Report,
    ) -> Vec<(&'a str, Entry<'a>)> {
        let Some(entry) = self.find(&[name]) else {
            return Vec::new();
        };
        let Value::Map(entries) = &entry.node.value else {
            report.error(&entry.place, entry.node.kind(), "a map");
            return Vec::new();
        };
        let child = |(key, node): &'a (Key, Node)| {
            (
                key.text.as_str(),
                entry.child(entry.place.key(&key.text, key.line), node),
            )
        };
        entries.iter().map(child).collect()
    }

    /// Returns the entries of a map.
    pub(super) fn map(
        &self,
        names: &[&'static str],
        report: &mut Report,
    ) -> Option<(Place, &'a [(Key, Node)])> {
        let entry = self.find(names)?;
        match &entry.node.value {
            Value::Map(entries) => Some((entry.place, entries)),
            _ => entry.invalid("a map", report),
        }
    }

    /// Reads a section that only Flowgate has, and reports the keys that `read` does not ask for as errors: a
    /// misspelled key would leave a limit, or authentication, unset. So `read` has to ask for every key,
    /// whatever the others say.
    pub(super) fn subsection<T>(
        &self,
        name: &'static str,
        report: &mut Report,
        read: impl FnOnce(&Self, &mut Report) -> T,
    ) -> Option<T> {
        let (place, entries) = self.map(&[name], report)?;
        Some(read_strictly(place, entries, report, read))
    }

    fn report_unknown_keys(&self, report: &mut Report) {
        let used = self.used.borrow();
        for (layer, (key, _)) in self
            .layers
            .iter()
            .flat_map(|layer| layer.entries.iter().map(move |entry| (layer, entry)))
        {
            let name = key.normalized();
            if !used.contains(&name.as_str()) {
                let hint = suggestion(&name, used.iter().copied());
                report.error(
                    &layer.place.key(&key.text, key.line),
                    "an unknown key",
                    format!("one of {}{hint}", used.join(", ")),
                );
            }
        }
    }
}

/// Reads a map as [`Section::subsection`] does.
pub(super) fn read_strictly<'a, T>(
    place: Place,
    entries: &'a [(Key, Node)],
    report: &mut Report,
    read: impl FnOnce(&Section<'a>, &mut Report) -> T,
) -> T {
    let section = Section::new([Layer::of_file(place, entries)]);
    let result = read(&section, report);
    section.report_unknown_keys(report);
    result
}

impl<'a> Layer<'a> {
    /// A layer with the keys of a file.
    pub(super) const fn of_file(place: Place, entries: &'a [(Key, Node)]) -> Self {
        Self {
            place,
            entries,
            without: &[],
            key_style: KeyStyle::File,
        }
    }

    /// Returns the last key that has one of these names.
    fn find(&self, names: &[&str]) -> Option<Entry<'a>> {
        let matches = |key: &Key| {
            let name = key.normalized();
            names.contains(&name.as_str()) && !self.without.contains(&name.as_str())
        };
        let (key, node) = self.entries.iter().rev().find(|(key, _)| matches(key))?;
        let place = match self.key_style {
            KeyStyle::File => self.place.key(&key.text, key.line.or(node.line)),
            KeyStyle::CommandLine => Place::new(&format!("--{}", key.text.replace('_', "-")), None),
        };
        Some(Entry {
            place,
            node,
            is_own: true,
        })
    }
}

impl<'a> Entry<'a> {
    /// Reports the value as invalid and returns `None`. If the value has an unset variable, the message
    /// says that this is the cause.
    pub(super) fn invalid<T>(&self, expected: impl Into<String>, report: &mut Report) -> Option<T> {
        let mut expected = expected.into();
        if let Some(unset) = self
            .node
            .variables
            .as_ref()
            .and_then(|variables| variables.unset.first())
        {
            expected = format!("{expected}; this needs {}", unset.requirement());
        }
        report.error(&self.place, self.node.found(), expected);
        None
    }

    /// Returns the value, which must be a URL without user and password: the clients that call it send neither, and a
    /// password must not appear in errors or in a printed Flow.
    pub(super) fn url(
        &self,
        is_url: impl Fn(&str) -> bool,
        expected: &str,
        report: &mut Report,
    ) -> Option<String> {
        let url = self.node.text();
        if url.as_deref().is_some_and(has_user) {
            let found = "a URL with a user or a password";
            report.error(
                &self.place,
                found,
                format!("{expected}, without user and password"),
            );
            return None;
        }
        url.filter(|url| is_url(url))
            .or_else(|| self.invalid(expected, report))
    }

    /// Warns of unset variables in a text that is used unchanged: they stay in the text, as in Jina.
    pub(super) fn check_variables(&self, report: &mut Report) {
        for unset in self
            .node
            .variables
            .iter()
            .flat_map(|variables| &variables.unset)
        {
            match unset.kind {
                VariableKind::Dollar => {}
                VariableKind::Environment | VariableKind::Context => {
                    report.warn(&self.place, self.node.found(), unset.requirement())
                }
                VariableKind::Expression => {
                    report.error(&self.place, self.node.found(), unset.requirement())
                }
            }
        }
    }

    /// An entry for a value inside this map or list.
    pub(super) fn child(&self, place: Place, node: &'a Node) -> Self {
        Self {
            place,
            node,
            is_own: self.is_own,
        }
    }

    /// Returns the items of this text or list of texts.
    pub(super) fn items(&self, commas: Commas, report: &mut Report) -> Vec<Item<'a>> {
        match (&self.node.value, self.node.guessed()) {
            (Value::List(items), _) => {
                let items = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.child(self.place.item(index, item.line), item));
                items
                    .flat_map(|entry| entry.single(commas, report))
                    .collect()
            }
            // A text that Jina reads as a list, `[a, b]`.
            (_, Value::List(items)) => items
                .iter()
                .filter_map(Node::text)
                .map(|text| Item {
                    text,
                    entry: self.clone(),
                })
                .collect(),
            _ => self.single(commas, report),
        }
    }

    fn single(&self, commas: Commas, report: &mut Report) -> Vec<Item<'a>> {
        let Some(text) = self.node.text() else {
            self.invalid::<()>("a string", report);
            return Vec::new();
        };
        let item = |text: &str| Item {
            text: text.trim().to_owned(),
            entry: self.clone(),
        };
        match commas {
            Commas::Split => text.split(',').map(item).collect(),
            Commas::Keep => vec![item(&text)],
        }
    }
}
