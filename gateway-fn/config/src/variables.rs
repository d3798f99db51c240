//! Replaces variables in the texts of a Flow file, in the same passes as Jina 3.13: `${{ ENV.X }}`, `$X`, `${X}`,
//! `${{ CONTEXT.X }}` and references into the file itself, `${{root.with.name}}` and `${{this.key}}`.

use super::{
    diagnostic::quoted,
    node::{Node, UnsetVariable, Value, VariableKind, Variables, unquoted},
};

impl UnsetVariable {
    /// Says what the variable needs to get a value.
    pub(super) fn requirement(&self) -> String {
        let name = quoted(&self.name);
        match self.kind {
            VariableKind::Environment | VariableKind::Dollar => {
                format!("the environment variable {name} to be set")
            }
            VariableKind::Context => format!(
                "an environment variable `${{{{ ENV.X }}}}` in place of {name}: a context exists only in Jina's Python \
                 interface"
            ),
            VariableKind::Expression => format!(
                "{name} to be the path of a single value in this file, or `${{{{ ENV.X }}}}`"
            ),
        }
    }
}

/// Replaces the variables in all texts below the root.
pub(super) fn expand(root: &mut Node, env: &dyn Fn(&str) -> Option<String>) {
    expand_with(root, &|_, name| env(name));
}

/// Replaces references into the file, and leaves the environment's variables as references, all in the form
/// `${{ ENV.X }}`. `$X` without a value stays, because it may be literal text.
pub(super) fn expand_references(root: &mut Node, env: &dyn Fn(&str) -> Option<String>) {
    expand_with(root, &|kind, name| {
        let is_variable = kind == VariableKind::Environment || env(name).is_some();
        is_variable.then(|| format!("${{{{ ENV.{name} }}}}"))
    });
}

fn expand_with(root: &mut Node, env: &dyn Fn(VariableKind, &str) -> Option<String>) {
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
    /// The value of a variable of the environment, written in one of two kinds.
    env: &'e dyn Fn(VariableKind, &str) -> Option<String>,
    /// Whether this pass follows references into the file.
    references: bool,
    /// Bytes that may still be produced: references can multiply.
    budget: usize,
    changed: bool,
}

impl Expansion<'_> {
    /// `before` is `node` before this pass; references resolve to its values, as in Jina.
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
        let mut unset = Vec::new();
        let expanded = self.text(text, this, root, &mut unset);
        if expanded == *text && unset.is_empty() {
            return;
        }
        self.changed |= expanded != *text;
        let variables = child.variables.get_or_insert_with(|| {
            Box::new(Variables {
                written: text.clone(),
                unset: Vec::new(),
            })
        });
        for one in unset {
            // A `$X` that comes from a variable's value is not shown: the value may be a secret.
            if variables.written.contains(&one.name) && !variables.unset.contains(&one) {
                variables.unset.push(one);
            }
        }
        child.value = Value::Text(expanded);
    }

    fn text(
        &mut self,
        text: &str,
        this: &Node,
        root: &Node,
        unset: &mut Vec<UnsetVariable>,
    ) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('$') {
            out.push_str(&rest[..start]);
            let (token, length) = Token::first(&rest[start..]);
            let value = self.value(&token, this, root, unset);
            out.push_str(
                value
                    .as_deref()
                    .unwrap_or_else(|| &rest[start..start + length]),
            );
            rest = &rest[start + length..];
            if out.len() > self.budget {
                unset.push(UnsetVariable {
                    kind: VariableKind::Expression,
                    name: text.to_owned(),
                });
                return text.to_owned();
            }
        }
        out.push_str(rest);
        self.budget = self.budget.saturating_sub(out.len());
        out
    }

    /// Returns the replacement of a token; `None` leaves the token unchanged.
    fn value(
        &self,
        token: &Token<'_>,
        this: &Node,
        root: &Node,
        unset: &mut Vec<UnsetVariable>,
    ) -> Option<String> {
        let (kind, name, value, otherwise) = match token {
            Token::Dollar => return None,
            Token::Reference(_) if !self.references => return None,
            Token::Plain(name) => (
                VariableKind::Dollar,
                name,
                self.environment(VariableKind::Dollar, name),
                None,
            ),
            Token::Environment(name) => (
                VariableKind::Environment,
                name,
                self.environment(VariableKind::Environment, name),
                Some(format!("${name}")),
            ),
            Token::Context(name) => (VariableKind::Context, name, None, Some(format!("$${name}"))),
            Token::Reference(path) => (
                VariableKind::Expression,
                path,
                follow(path, this, root),
                None,
            ),
            Token::Unknown(text) => (VariableKind::Expression, text, None, None),
        };
        if value.is_none() {
            unset.push(UnsetVariable {
                kind,
                name: (*name).to_owned(),
            });
        }
        value.or(otherwise)
    }

    fn environment(&self, kind: VariableKind, name: &str) -> Option<String> {
        if is_word(name) {
            (self.env)(kind, name)
        } else {
            None
        }
    }
}

enum Token<'t> {
    /// A dollar sign that starts no variable.
    Dollar,
    Plain(&'t str),
    Environment(&'t str),
    Context(&'t str),
    Reference(&'t str),
    Unknown(&'t str),
}

impl<'t> Token<'t> {
    /// Returns the token at the start of a text that begins with a dollar sign, and its length in bytes.
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

/// Returns the value at a path like `root.executors[0].host`, as Python prints it.
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
            (None, Value::Map(_)) => node.get(step)?,
            _ => return None,
        };
    }
    rendered(node)
}

/// Formats a value as Python does.
fn rendered(node: &Node) -> Option<String> {
    match &node.value {
        Value::Null => Some("None".to_owned()),
        Value::Bool(value) => Some(if *value { "True" } else { "False" }.to_owned()),
        Value::Text(text) => Some(unquoted(text).to_owned()),
        Value::Int(_) | Value::Float(_) => node.text(),
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

/// Jina resolves references to references in three passes.
const REFERENCE_PASSES: usize = 3;

/// Much more than a Flow of a thousand Executors needs.
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
        root.get("x").and_then(Node::text).expect("x")
    }

    #[test]
    fn variables_of_the_environment_are_replaced() {
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
    fn references_into_the_file_are_replaced() {
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
        assert_eq!(root.get("a").and_then(Node::text).as_deref(), Some("end"));
    }

    #[test]
    fn references_that_multiply_are_bounded() {
        let many = "${{this.a}}".repeat(2000);
        let root = expanded(&format!("a: {many:?}"));
        let length = root.get("a").and_then(Node::text).expect("a").len();
        assert!(length <= MAX_EXPANDED_BYTES, "{length} bytes");
    }

    #[test]
    fn unset_variables_are_kept_with_the_text_as_written() {
        let root = expanded("a: ${{ ENV.NONE }}:1\nb: $NONE\nc: ${{this.d}}");
        let unset = |key: &str| {
            root.get(key)
                .and_then(|node| node.variables.clone())
                .map(|variables| *variables)
                .expect(key)
        };
        assert_eq!(unset("a").written, "${{ ENV.NONE }}:1");
        assert!(unset("a").unset[0].kind == VariableKind::Environment);
        assert!(unset("b").unset[0].kind == VariableKind::Dollar);
        assert!(unset("c").unset[0].kind == VariableKind::Expression);
    }
}
