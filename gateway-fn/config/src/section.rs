//! One part of a Flow as its keys: typed values out, faults into the report. A part may have layers: what a deployment
//! does not say itself, it takes from the Flow's `with`.

use std::ops::RangeInclusive;

use super::{
    diagnostic::{Place, Report},
    node::{Key, Node, Value},
    variables::Kind,
};

/// The keys of one part, the layer that wins first.
#[derive(Debug, Default)]
pub(super) struct Section<'a> {
    layers: Vec<Layer<'a>>,
}

/// Keys that stand together.
#[derive(Clone, Debug)]
pub(super) struct Layer<'a> {
    pub(super) place: Place,
    pub(super) entries: &'a [(Key, Node)],
    /// Keys that do not count here.
    pub(super) without: &'static [&'static str],
    pub(super) spelling: Spelling,
}

/// How faults name a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `gateway.timeout_send`
    File,
    /// `--timeout-send`
    CommandLine,
}

/// A value, where it stands, and whether in the first layer.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    pub(super) place: Place,
    pub(super) node: &'a Node,
    pub(super) own: bool,
}

/// Whether a text may be a list with commas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commas {
    Split,
    Keep,
}

/// One of several texts.
#[derive(Clone, Debug)]
pub(super) struct Word<'a> {
    pub(super) text: String,
    pub(super) entry: Entry<'a>,
}

impl<'a> Section<'a> {
    pub(super) fn new(layers: impl IntoIterator<Item = Layer<'a>>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
        }
    }

    /// Where the part begins.
    pub(super) fn place(&self) -> Place {
        self.layers
            .first()
            .map_or_else(Place::default, |layer| layer.place.clone())
    }

    /// The value of a key under any of its names. A `null` is as good as nothing, and hides the layers behind.
    pub(super) fn find(&self, names: &[&str]) -> Option<Entry<'a>> {
        let entries = self.layers.iter().enumerate();
        let (index, entry) = entries
            .into_iter()
            .find_map(|(index, layer)| Some((index, layer.find(names)?)))?;
        Some(Entry {
            own: index == 0,
            ..entry
        })
        .filter(|entry| !entry.node.is_null())
    }

    /// A key exactly as it is written, even with `null`.
    pub(super) fn raw(&self, name: &str) -> Option<(&'a Key, &'a Node)> {
        let entries = self.layers.iter().flat_map(|layer| layer.entries);
        entries
            .rev()
            .find(|(key, _)| key.text == name)
            .map(|(key, node)| (key, node))
    }

    /// A yes or no; no when absent.
    pub(super) fn flag(&self, names: &[&str], report: &mut Report) -> bool {
        self.maybe_flag(names, report).unwrap_or(false)
    }

    pub(super) fn maybe_flag(&self, names: &[&str], report: &mut Report) -> Option<bool> {
        let entry = self.find(names)?;
        match entry.node.guessed() {
            Value::Bool(value) => Some(value),
            Value::Whole(1) => Some(true),
            // Jina takes every value but `false` for yes; these are the ones that can mean nothing else.
            Value::Text(text)
                if ["on", "yes", "y"].contains(&text.to_ascii_lowercase().as_str()) =>
            {
                Some(true)
            }
            _ => entry.wrong("true or false", report),
        }
    }

    /// A whole number.
    pub(super) fn whole(
        &self,
        names: &[&str],
        range: RangeInclusive<i64>,
        expected: &str,
        report: &mut Report,
    ) -> Option<i64> {
        let entry = self.find(names)?;
        match entry.node.guessed() {
            Value::Whole(value) if range.contains(&value) => Some(value),
            _ => entry.wrong(expected, report),
        }
    }

    /// A text.
    pub(super) fn text(&self, names: &[&str], report: &mut Report) -> Option<String> {
        let entry = self.find(names)?;
        let Some(text) = entry.node.text() else {
            return entry.wrong("text", report);
        };
        entry.check_variables(report);
        Some(text)
    }

    /// A text or a list of texts. The caller checks each and knows what is expected.
    pub(super) fn words(
        &self,
        names: &[&str],
        commas: Commas,
        report: &mut Report,
    ) -> Vec<Word<'a>> {
        self.find(names)
            .map_or_else(Vec::new, |entry| entry.words(commas, report))
    }

    /// The entries of a map, each with its key.
    pub(super) fn children(&self, name: &str, report: &mut Report) -> Vec<(&'a str, Entry<'a>)> {
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

    /// A map.
    pub(super) fn map(
        &self,
        names: &[&str],
        report: &mut Report,
    ) -> Option<(Place, &'a [(Key, Node)])> {
        let entry = self.find(names)?;
        match &entry.node.value {
            Value::Map(entries) => Some((entry.place, entries)),
            _ => entry.wrong("a map", report),
        }
    }
}

impl<'a> Layer<'a> {
    /// Keys of a file.
    pub(super) const fn of_file(place: Place, entries: &'a [(Key, Node)]) -> Self {
        Self {
            place,
            entries,
            without: &[],
            spelling: Spelling::File,
        }
    }

    /// The last of the keys that has one of these names.
    fn find(&self, names: &[&str]) -> Option<Entry<'a>> {
        let named = |key: &Key| {
            names.contains(&plain_name(&key.text).as_str())
                && !self.without.contains(&plain_name(&key.text).as_str())
        };
        let (key, node) = self.entries.iter().rev().find(|(key, _)| named(key))?;
        let place = match self.spelling {
            Spelling::File => self.place.key(&key.text, key.line.or(node.line)),
            Spelling::CommandLine => Place::new(&format!("--{}", key.text.replace('_', "-")), None),
        };
        Some(Entry {
            place,
            node,
            own: true,
        })
    }
}

impl<'a> Entry<'a> {
    /// Reports the value as wrong; a variable that is not set is named as the likely cause.
    pub(super) fn wrong<T>(&self, expected: impl Into<String>, report: &mut Report) -> Option<T> {
        let mut expected = expected.into();
        if let Some(missing) = self
            .node
            .variables
            .as_ref()
            .and_then(|variables| variables.missing.first())
        {
            expected = format!("{expected}, and for that {}", missing.wanted());
        }
        report.error(&self.place, self.node.found(), expected);
        None
    }

    /// For texts that serve as they are: a variable that is not set stays in the text, as in Jina, but not silently.
    pub(super) fn check_variables(&self, report: &mut Report) {
        for missing in self
            .node
            .variables
            .iter()
            .flat_map(|variables| &variables.missing)
        {
            match missing.kind {
                Kind::Dollar => {}
                Kind::Environment | Kind::Context => {
                    report.warn(&self.place, self.node.found(), missing.wanted())
                }
                Kind::Expression => report.error(&self.place, self.node.found(), missing.wanted()),
            }
        }
    }

    /// The value at a key of this map, or an item of this list, with its place.
    pub(super) fn child(&self, place: Place, node: &'a Node) -> Self {
        Self {
            place,
            node,
            own: self.own,
        }
    }

    /// The text or list of texts that stands here.
    pub(super) fn words(&self, commas: Commas, report: &mut Report) -> Vec<Word<'a>> {
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
            // Text that stands for a list, `[a, b]`.
            (_, Value::List(items)) => items
                .iter()
                .filter_map(Node::text)
                .map(|text| Word {
                    text,
                    entry: self.clone(),
                })
                .collect(),
            _ => self.single(commas, report),
        }
    }

    fn single(&self, commas: Commas, report: &mut Report) -> Vec<Word<'a>> {
        let Some(text) = self.node.text() else {
            self.wrong::<()>("text", report);
            return Vec::new();
        };
        let word = |text: &str| Word {
            text: text.trim().to_owned(),
            entry: self.clone(),
        };
        match commas {
            Commas::Split => text.split(',').map(word).collect(),
            Commas::Keep => vec![word(&text)],
        }
    }
}

/// Jina takes `timeout-send` for `timeout_send`.
pub(super) fn plain_name(key: &str) -> String {
    key.replace('-', "_")
}
