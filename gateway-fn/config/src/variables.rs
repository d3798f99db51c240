//! Variables in the texts of a Flow file: `${{ ENV.X }}`, `$X`, `${X}`, `${{ CONTEXT.X }}` and references into the file
//! itself, `${{root.with.name}}` and `${{this.key}}`, in the passes in which Jina 3.13 makes them.

use super::{
    diagnostic::quoted,
    node::{Node, Value, unquoted},
};

/// Where a text came from that was made of variables.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variables {
    /// The text as it stands in the file. ConfigErrors show this one: a variable's value may be a secret.
    pub(super) written: String,
    pub(super) missing: Vec<Missing>,
}

/// Something that is written as a variable and has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) kind: Kind,
    /// The name, path or expression as it is written.
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `${{ ENV.X }}`.
    Environment,
    /// `$X` or `${X}`, which may just as well be meant as it stands.
    Dollar,
    /// `${{ CONTEXT.X }}`, which only Jina's Python interface can give.
    Context,
    /// `${{root.x}}`, `${{this.x}}` that lead nowhere, or anything else in `${{ }}`.
    Expression,
}

impl Missing {
    /// What would have to be there.
    pub(super) fn wanted(&self) -> String {
        let name = quoted(&self.name);
        match self.kind {
            Kind::Environment | Kind::Dollar => {
                format!("the environment variable {name} to be set")
            }
            Kind::Context => format!(
                "an environment variable, `${{{{ ENV.X }}}}`: there is no context that could hold {name}"
            ),
            Kind::Expression => format!(
                "{name} to lead to a single value in this file, or to be `${{{{ ENV.X }}}}`"
            ),
        }
    }
}

/// Replaces the variables in all texts below the root.
pub(super) fn expand(root: &mut Node, env: &dyn Fn(&str) -> Option<String>) {
    let mut expansion = Expansion {
        env,
        references: false,
        budget: MAX_EXPANDED_BYTES,
        changed: false,
    };
    for pass in 0..=REFERENCE_PASSES {
        expansion.references = pass > 0;
        expansion.changed = false;
        let before = root.clone();
        expansion.visit(root, &before, &before);
        if pass > 0 && !expansion.changed {
            break;
        }
    }
}

struct Expansion<'e> {
    env: &'e dyn Fn(&str) -> Option<String>,
    references: bool,
    /// Bytes that may still be produced: references can multiply.
    budget: usize,
    changed: bool,
}

impl Expansion<'_> {
    /// `before` is what `node` was before this pass: references see that, as in Jina.
    fn visit(&mut self, node: &mut Node, before: &Node, root: &Node) {
        match (&mut node.value, &before.value) {
            (Value::Map(entries), Value::Map(old)) => {
                for ((_, child), (_, old)) in entries.iter_mut().zip(old) {
                    self.child(child, old, before, root);
                }
            }
            (Value::List(items), Value::List(old)) => {
                for (child, old) in items.iter_mut().zip(old) {
                    self.child(child, old, before, root);
                }
            }
            _ => {}
        }
    }

    fn child(&mut self, child: &mut Node, old: &Node, this: &Node, root: &Node) {
        let Value::Text(text) = &old.value else {
            return self.visit(child, old, root);
        };
        if !text.contains('$') {
            return;
        }
        let mut missing = Vec::new();
        let expanded = self.text(text, this, root, &mut missing);
        if expanded == *text && missing.is_empty() {
            return;
        }
        self.changed |= expanded != *text;
        let variables = child.variables.get_or_insert_with(|| {
            Box::new(Variables {
                written: text.clone(),
                missing: Vec::new(),
            })
        });
        for one in missing {
            // What only a variable's value contains is nobody's business.
            if variables.written.contains(&one.name) && !variables.missing.contains(&one) {
                variables.missing.push(one);
            }
        }
        child.value = Value::Text(expanded);
    }

    fn text(&mut self, text: &str, this: &Node, root: &Node, missing: &mut Vec<Missing>) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('$') {
            out.push_str(&rest[..start]);
            let (token, length) = Token::first(&rest[start..]);
            let value = self.value(&token, this, root, missing);
            out.push_str(
                value
                    .as_deref()
                    .unwrap_or_else(|| &rest[start..start + length]),
            );
            rest = &rest[start + length..];
            if out.len() > self.budget {
                missing.push(Missing {
                    kind: Kind::Expression,
                    name: text.to_owned(),
                });
                return text.to_owned();
            }
        }
        out.push_str(rest);
        self.budget = self.budget.saturating_sub(out.len());
        out
    }

    /// What stands in for a token; `None` leaves it as it is.
    fn value(
        &self,
        token: &Token<'_>,
        this: &Node,
        root: &Node,
        missing: &mut Vec<Missing>,
    ) -> Option<String> {
        let (kind, name, value, otherwise) = match token {
            Token::Dollar => return None,
            Token::Reference(_) if !self.references => return None,
            Token::Plain(name) => (Kind::Dollar, name, self.environment(name), None),
            Token::Environment(name) => (
                Kind::Environment,
                name,
                self.environment(name),
                Some(format!("${name}")),
            ),
            Token::Context(name) => (Kind::Context, name, None, Some(format!("$${name}"))),
            Token::Reference(path) => (Kind::Expression, path, follow(path, this, root), None),
            Token::Unknown(text) => (Kind::Expression, text, None, None),
        };
        if value.is_none() {
            missing.push(Missing {
                kind,
                name: (*name).to_owned(),
            });
        }
        value.or(otherwise)
    }

    fn environment(&self, name: &str) -> Option<String> {
        if is_word(name) {
            (self.env)(name)
        } else {
            None
        }
    }
}

enum Token<'t> {
    /// A dollar sign that starts nothing.
    Dollar,
    Plain(&'t str),
    Environment(&'t str),
    Context(&'t str),
    Reference(&'t str),
    Unknown(&'t str),
}

impl<'t> Token<'t> {
    /// The token at the start of a text that begins with a dollar sign, and its length in bytes.
    fn first(text: &'t str) -> (Self, usize) {
        if let Some(inside) = text.strip_prefix("${{")
            && let Some(end) = inside.find("}}")
        {
            return (Self::expression(inside[..end].trim()), end + "${{}}".len());
        }
        if let Some(inside) = text.strip_prefix("${")
            && let Some(end) = inside.find('}')
        {
            return (Self::Plain(&inside[..end]), end + "${}".len());
        }
        let after = &text[1..];
        let length = after
            .find(|c: char| !is_word_char(c))
            .unwrap_or(after.len());
        let token = if length == 0 {
            Self::Dollar
        } else {
            Self::Plain(&after[..length])
        };
        (token, length + 1)
    }

    fn expression(text: &'t str) -> Self {
        let variable = |prefixes: [&str; 2]| {
            prefixes
                .iter()
                .find_map(|prefix| text.strip_prefix(prefix))
                .filter(|name| is_word(name))
        };
        if let Some(name) = variable(["ENV.", "env."]) {
            Self::Environment(name)
        } else if let Some(name) = variable(["CONTEXT.", "context."]) {
            Self::Context(name)
        } else if is_word(text) {
            Self::Context(text)
        } else if text.starts_with("root") || text.starts_with("this") {
            Self::Reference(text)
        } else {
            Self::Unknown(text)
        }
    }
}

/// The value at the end of a path like `root.executors[0].host`.
fn follow(path: &str, this: &Node, root: &Node) -> Option<String> {
    let steps = path.replace('[', ".[");
    let mut steps = steps.split('.');
    let mut node = match steps.next()? {
        "root" => root,
        "this" => this,
        _ => return None,
    };
    for step in steps {
        node = match (
            step.strip_prefix('[')
                .and_then(|step| step.strip_suffix(']')),
            &node.value,
        ) {
            (Some(index), Value::List(items)) => items.get(index.parse::<usize>().ok()?)?,
            (None, Value::Map(_)) => node.at(step)?,
            _ => return None,
        };
    }
    rendered(node)
}

/// How Python would print the value.
fn rendered(node: &Node) -> Option<String> {
    match &node.value {
        Value::Null => Some("None".to_owned()),
        Value::Bool(value) => Some(if *value { "True" } else { "False" }.to_owned()),
        Value::Text(text) => Some(unquoted(text).to_owned()),
        Value::Whole(_) | Value::Real(_) => node.text(),
        Value::List(items) => Some(format!(
            "[{}]",
            items
                .iter()
                .map(Node::text)
                .collect::<Option<Vec<_>>>()?
                .join(", ")
        )),
        Value::Map(_) => None,
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_word_char)
}

const fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Jina resolves references to references so many times over.
const REFERENCE_PASSES: usize = 3;

/// Far above what a Flow of a thousand Executors needs.
const MAX_EXPANDED_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::super::diagnostic::Report;
    use super::super::yaml;
    use super::*;

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "HOST" => "example.com",
            "PORT" => "8080",
            "CHAIN" => "$HOST",
            "LIST" => "[grpc, http]",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn expanded(yaml: &str) -> Node {
        let mut root = yaml::read(yaml, &mut Report::new("flow.yml"))
            .expect("yaml")
            .root;
        expand(&mut root, &env);
        root
    }

    fn value_of(text: &str) -> String {
        let root = expanded(&format!(
            "with: {{name: shop, port: 7, list: [1, b]}}\nhere: beside\nx: {text:?}"
        ));
        root.at("x").and_then(Node::text).expect("x")
    }

    #[test]
    fn the_environment_goes_into_texts() {
        for (text, value) in [
            ("${{ ENV.HOST }}", "example.com"),
            ("${{ env.HOST }}", "example.com"),
            ("${{ENV.HOST}}", "example.com"),
            ("${{env.HOST}}", "example.com"),
            ("$HOST", "example.com"),
            ("${HOST}", "example.com"),
            ("grpc://${{ ENV.HOST }}:$PORT/", "grpc://example.com:8080/"),
            ("${{ ENV.HOST }}b", "example.comb"),
            ("${{ ENV.CHAIN }}", "example.com"),
            ("${{ ENV.NONE }}", "$NONE"),
            ("$NONE", "$NONE"),
            ("${NONE}", "${NONE}"),
            ("${{ CONTEXT.X }}", "$$X"),
            ("${{ context.X }}", "$$X"),
            ("${{ X }}", "$$X"),
            ("costs 5$", "costs 5$"),
            ("$", "$"),
            ("${{", "${{"),
        ] {
            assert_eq!(value_of(text), value, "{text}");
        }
    }

    #[test]
    fn references_lead_into_the_file() {
        for (text, value) in [
            ("${{root.with.name}}", "shop"),
            ("${{ root.with.name }}", "shop"),
            ("${{this.here}}-${{root.with.port}}", "beside-7"),
            ("${{root.with.list[1]}}", "b"),
            ("${{root.with.list}}", "[1, b]"),
            ("${{root.with.nothing}}", "${{root.with.nothing}}"),
            ("${{root.with}}", "${{root.with}}"),
            ("${{root.with.list[9]}}", "${{root.with.list[9]}}"),
        ] {
            assert_eq!(value_of(text), value, "{text}");
        }
    }

    #[test]
    fn references_to_references_are_followed_three_times() {
        let root = expanded("a: ${{root.b}}\nb: ${{root.c}}\nc: ${{root.d}}\nd: end\n");
        assert_eq!(root.at("a").and_then(Node::text).as_deref(), Some("end"));
    }

    #[test]
    fn references_that_multiply_are_stopped() {
        let many = "${{this.a}}".repeat(2000);
        let root = expanded(&format!("a: {many:?}"));
        let length = root.at("a").and_then(Node::text).expect("a").len();
        assert!(length <= MAX_EXPANDED_BYTES, "{length} bytes");
    }

    #[test]
    fn what_is_missing_is_remembered_with_what_was_written() {
        let root = expanded("a: ${{ ENV.NONE }}:1\nb: $NONE\nc: ${{this.d}}");
        let missing = |key: &str| {
            root.at(key)
                .and_then(|node| node.variables.clone())
                .map(|variables| *variables)
                .expect(key)
        };
        assert_eq!(missing("a").written, "${{ ENV.NONE }}:1");
        assert!(missing("a").missing[0].kind == Kind::Environment);
        assert!(missing("b").missing[0].kind == Kind::Dollar);
        assert!(missing("c").missing[0].kind == Kind::Expression);
    }
}
