//! YAML text -> a tree of nodes, with PyYAML's results for anchors, aliases, merge keys `<<` and repeated keys (the last
//! one wins). Size, depth and the expansion of aliases are bounded.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{
    diagnostic::{Place, Report, quoted},
    node::{Key, Node, Value},
    scalar,
};

/// The only document of a file.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Node,
    /// The tag of the root without its `!`: the older form of `jtype`.
    pub(super) tag: Option<String>,
}

/// Parses a file; errors go to the report.
pub(super) fn read(text: &str, report: &mut Report) -> Option<Document> {
    if text.len() > MAX_FILE_BYTES {
        report.error(
            &Place::default(),
            format!("{} bytes", text.len()),
            format!("at most {MAX_FILE_BYTES}"),
        );
        return None;
    }
    let mut composer = Composer {
        report,
        frames: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        document: None,
        tag: None,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let handled = match event {
            Ok((event, span)) => composer.handle(event, line(span)),
            Err(error) => {
                let place = Place::new("", Some(error.marker().line()));
                composer.report.error(
                    &place,
                    error.info(),
                    expected_yaml(text, error.marker().line(), error.marker().col()),
                );
                None
            }
        };
        handled?;
    }
    let root = composer.document.unwrap_or_default();
    Some(Document {
        root,
        tag: composer.tag,
    })
}

/// Builds the tree from the parser's events.
struct Composer<'r> {
    report: &'r mut Report,
    frames: Vec<Frame>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    document: Option<Node>,
    tag: Option<String>,
}

/// A list or map whose end is not reached yet.
struct Frame {
    anchor: usize,
    line: Option<usize>,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(Key, Node)>,
        merged: Vec<(Key, Node)>,
        key: Option<PendingKey>,
    },
}

enum PendingKey {
    Plain(Key),
    Merge,
}

impl Composer<'_> {
    /// Handles one event; `None` if an error ends the parsing.
    fn handle(&mut self, event: Event<'_>, line: Option<usize>) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if self.is_at_root() {
                    self.tag = tag
                        .as_ref()
                        .filter(|tag| tag.handle == "!")
                        .map(|tag| tag.suffix.clone());
                }
                if self.expects_key() {
                    return self.key(&text, style, line);
                }
                let as_text = style != ScalarStyle::Plain
                    || tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let value = if as_text {
                    Value::Text(text.into_owned())
                } else {
                    scalar::plain(&text)
                };
                self.complete(Node::new(value, line), anchor)
            }
            Event::SequenceStart(anchor, _) => self.open(anchor, line, Content::List(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                if self.is_at_root() {
                    self.tag = tag
                        .filter(|tag| tag.handle == "!")
                        .map(|tag| tag.suffix.clone());
                }
                self.open(
                    anchor,
                    line,
                    Content::Map {
                        entries: Vec::new(),
                        merged: Vec::new(),
                        key: None,
                    },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, line),
            Event::DocumentStart(_) if self.document.is_some() => {
                self.reject(line, "a second document", "one document in the file")
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Some(()),
        }
    }

    fn is_at_root(&self) -> bool {
        self.frames.is_empty()
    }

    fn expects_key(&self) -> bool {
        matches!(
            self.frames.last(),
            Some(Frame {
                content: Content::Map { key: None, .. },
                ..
            })
        )
    }

    fn key(&mut self, text: &str, style: ScalarStyle, line: Option<usize>) -> Option<()> {
        if let Some(Frame {
            content: Content::Map { key, .. },
            ..
        }) = self.frames.last_mut()
        {
            let merge = text == "<<" && style == ScalarStyle::Plain;
            *key = Some(if merge {
                PendingKey::Merge
            } else {
                PendingKey::Plain(Key::new(text, line))
            });
        }
        self.count(1, line)
    }

    fn open(&mut self, anchor: usize, line: Option<usize>, content: Content) -> Option<()> {
        if self.expects_key() {
            return self.reject(line, "a list or map as a key", "a key that is text");
        }
        if self.frames.len() >= MAX_DEPTH {
            return self.reject(
                line,
                "more levels of lists and maps",
                format!("at most {MAX_DEPTH} levels"),
            );
        }
        self.frames.push(Frame {
            anchor,
            line,
            content,
        });
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        let frame = self.frames.pop()?;
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map {
                entries, merged, ..
            } => Value::Map(self.unique(entries, merged)),
        };
        self.complete(Node::new(value, frame.line), frame.anchor)
    }

    fn alias(&mut self, anchor: usize, line: Option<usize>) -> Option<()> {
        if self.expects_key() {
            return self.reject(line, "an alias as a key", "a key that is text");
        }
        let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
            return self.reject(
                line,
                "an alias inside its own anchor",
                "an alias of a value that is complete before it",
            );
        };
        self.count(size, line)?;
        self.put(node)
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Option<()> {
        self.count(1, node.line)?;
        if anchor > 0 {
            let size = node.size();
            // The copy for aliases uses memory as well.
            self.count(size, node.line)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        self.put(node)
    }

    fn put(&mut self, node: Node) -> Option<()> {
        let line = node.line;
        let Some(frame) = self.frames.last_mut() else {
            self.document = Some(node);
            return Some(());
        };
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map {
                entries,
                merged,
                key,
            } => match key.take() {
                Some(PendingKey::Plain(key)) => entries.push((key, node)),
                Some(PendingKey::Merge) => {
                    let Some(more) = mergeable(node) else {
                        return self.reject(
                            line,
                            "another value",
                            "a map or a list of maps after `<<`",
                        );
                    };
                    merged.extend(more);
                }
                None => {}
            },
        }
        Some(())
    }

    /// Removes repeated keys: the last one wins, but a key of the map itself wins over a merged one.
    fn unique(&mut self, own: Vec<(Key, Node)>, merged: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
        let mut entries: Vec<(Key, Node)> = Vec::with_capacity(own.len() + merged.len());
        let mut seen: HashMap<String, (usize, bool)> = HashMap::new();
        let all = merged
            .into_iter()
            .map(|entry| (entry, false))
            .chain(own.into_iter().map(|entry| (entry, true)));
        for ((key, node), is_own) in all {
            match seen.insert(key.text.clone(), (entries.len(), is_own)) {
                None => entries.push((key, node)),
                Some((place, was_own)) => {
                    if was_own && is_own {
                        let found = format!("the key {} a second time", quoted(&key.text));
                        self.report.warn(
                            &Place::new("", key.line),
                            found,
                            "each key once; the last one counts",
                        );
                    }
                    seen.insert(key.text.clone(), (place, is_own));
                    entries[place] = (key, node);
                }
            }
        }
        entries
    }

    fn count(&mut self, more: usize, line: Option<usize>) -> Option<()> {
        self.nodes += more;
        if self.nodes > MAX_NODES {
            return self.reject(
                line,
                "more values (each alias counts as all values of its anchor)",
                format!("at most {MAX_NODES}"),
            );
        }
        Some(())
    }

    fn reject(
        &mut self,
        line: Option<usize>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Option<()> {
        self.report.error(&Place::new("", line), found, expected);
        None
    }
}

/// Returns the entries that `<<` merges. Of several maps the first wins, so its entries come last.
fn mergeable(node: Node) -> Option<Vec<(Key, Node)>> {
    match node.value {
        Value::Map(entries) => Some(entries),
        Value::List(items) => {
            let maps = items.into_iter().rev().map(|item| match item.value {
                Value::Map(entries) => Some(entries),
                _ => None,
            });
            Some(
                maps.collect::<Option<Vec<_>>>()?
                    .into_iter()
                    .flatten()
                    .collect(),
            )
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => None,
    }
}

fn line(span: Span) -> Option<usize> {
    Some(span.start.line())
}

/// Describes what is expected in place of invalid YAML. Indented lines directly after `jtype` have lost their parent key,
/// which happens when a listing is copied from a web page.
fn expected_yaml(text: &str, line: usize, column: usize) -> String {
    let above = text
        .lines()
        .take(line.saturating_sub(1))
        .filter(|line| !line.trim().is_empty())
        .last();
    if above.is_some_and(|above| above.starts_with("jtype:")) {
        return "a line `gateway:` or `with:` between `jtype:` and the indented lines".to_owned();
    }
    format!("well-formed YAML (column {})", column + 1)
}

/// A Flow of a thousand Executors has some 100 kB.
const MAX_FILE_BYTES: usize = 1 << 20;

/// A Flow needs about 6 levels, a condition a few more.
const MAX_DEPTH: usize = 64;

/// A file of the largest size has fewer values in practice; values repeated by aliases count each time.
const MAX_NODES: usize = 200_000;
