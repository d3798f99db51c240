//! Translates everything that begins with `(`: groups, lookarounds, references, conditionals, flags and comments.

use super::{Flags, Item, Open, RegexError, Stop, Translator, syntax};

impl Translator<'_> {
    /// Translates a group whose `(` is at `position`.
    pub(super) fn open_group(&mut self, position: usize) -> Result<(), Stop> {
        if !self.skip('?') {
            self.open_capture(position);
            return Ok(());
        }
        let unknown = |this: &Self| {
            let extension = this.text_from(position + 1);
            syntax(format!("unknown extension {extension}"), position + 1)
        };
        match self.next_or_end()? {
            ':' => self.push_open("(?:", position),
            '=' => self.push_open("(?=", position),
            '!' => self.push_open("(?!", position),
            '>' => self.push_open("(?>", position),
            '#' => self.comment(position)?,
            '(' => self.conditional(position)?,
            'P' => match self.next_or_end()? {
                '<' => self.named(position)?,
                '=' => self.named_reference(position)?,
                _ => return Err(unknown(self).into()),
            },
            '<' => match self.next_or_end()? {
                '=' => self.push_open("(?<=", position),
                '!' => self.push_open("(?<!", position),
                _ => return Err(unknown(self).into()),
            },
            'i' | 'm' | 's' | 'x' | 'u' | 'a' | 'L' | '-' => {
                self.at -= 1;
                self.flags(position)?;
            }
            _ => return Err(unknown(self).into()),
        }
        Ok(())
    }

    pub(super) fn close_group(&mut self, position: usize) -> Result<(), RegexError> {
        let unbalanced = || syntax("unbalanced parenthesis", position);
        let open = self.open.pop().ok_or_else(unbalanced)?;
        if let Some(group) = open.group {
            self.closed[group - 1] = true;
        }
        self.flags = open.outer_flags;
        self.out.push(')');
        self.item = Item::Atom(open.start);
        Ok(())
    }

    fn push_open(&mut self, text: &str, position: usize) {
        self.open.push(Open {
            position,
            start: self.out.len(),
            outer_flags: self.flags,
            group: None,
            branches_left: None,
        });
        self.out.push_str(text);
        self.item = Item::Nothing;
    }

    fn open_capture(&mut self, position: usize) {
        self.closed.push(false);
        self.push_open("(", position);
        if let Some(open) = self.open.last_mut() {
            open.group = Some(self.closed.len());
        }
    }

    fn next_or_end(&mut self) -> Result<char, RegexError> {
        let end = syntax("unexpected end of pattern", self.at);
        self.next().ok_or(end)
    }

    fn comment(&mut self, position: usize) -> Result<(), RegexError> {
        loop {
            match self.next() {
                Some(')') => return Ok(()),
                Some(_) => {}
                None => return Err(syntax("missing ), unterminated comment", position)),
            }
        }
    }

    /// Parses a name up to `end`. Returns it with its position.
    fn name(&mut self, end: char) -> Result<(String, usize), RegexError> {
        let start = self.at;
        loop {
            match self.next() {
                Some(char) if char == end => break,
                Some(_) => {}
                None if self.at == start => return Err(syntax("missing group name", start)),
                None => {
                    let message = format!("missing {end}, unterminated name");
                    return Err(syntax(message, start));
                }
            }
        }
        if self.at == start + 1 {
            return Err(syntax("missing group name", start));
        }
        Ok((self.chars[start..self.at - 1].iter().collect(), start))
    }

    fn named(&mut self, position: usize) -> Result<(), RegexError> {
        let (name, at) = self.name('>')?;
        check_identifier(&name, at)?;
        let group = self.closed.len() + 1;
        if let Some(before) = self.names.insert(name.clone(), group) {
            let message =
                format!("redefinition of group name '{name}' as group {group}; was group {before}");
            return Err(syntax(message, at));
        }
        self.open_capture(position);
        Ok(())
    }

    fn named_reference(&mut self, position: usize) -> Result<(), RegexError> {
        let (name, at) = self.name(')')?;
        check_identifier(&name, at)?;
        let group = self.group_named(&name, at)?;
        self.refer(group, &name, at, position)
    }

    /// `(?(1)yes|no)` or `(?(name)yes|no)`.
    fn conditional(&mut self, position: usize) -> Result<(), RegexError> {
        let (name, at) = self.name(')')?;
        let group = match name.parse() {
            Ok(group) => group,
            Err(_) => {
                check_identifier(&name, at)?;
                self.group_named(&name, at)?
            }
        };
        // Python accepts a reference to a later group, which never matches. Flowgate rejects it.
        if group == 0 || group > self.closed.len() {
            return Err(syntax(format!("invalid group reference {name}"), at));
        }
        self.push_open(&format!("(?({group})"), position);
        if let Some(open) = self.open.last_mut() {
            open.branches_left = Some(1);
        }
        Ok(())
    }

    fn group_named(&self, name: &str, at: usize) -> Result<usize, RegexError> {
        let unknown = || syntax(format!("unknown group name '{name}'"), at);
        self.names.get(name).copied().ok_or_else(unknown)
    }

    /// Translates the flags of the whole pattern, `(?ims)`, or of a group, `(?i-s:…)`.
    fn flags(&mut self, position: usize) -> Result<(), Stop> {
        let mut flags = self.flags;
        let mut is_on = true;
        loop {
            let char = self.next();
            match char {
                Some('-') if is_on => is_on = false,
                Some(')') if is_on => {
                    let globals = self.globals.with(flags);
                    return if globals == self.globals {
                        Ok(())
                    } else {
                        Err(Stop::Restart(globals))
                    };
                }
                Some(':') => {
                    self.open_flagged(flags, position);
                    return Ok(());
                }
                Some(letter) if flags.set(letter, is_on) => {}
                // fancy_regex cannot match ASCII only. Unicode, `u`, is the default.
                Some('a') => return Err(RegexError::Unsupported.into()),
                Some('u') => {}
                Some('L') => {
                    let message = "bad inline flags: cannot use 'L' flag with a str pattern";
                    return Err(syntax(message, self.at).into());
                }
                Some(letter) if letter.is_alphabetic() => {
                    return Err(syntax("unknown flag", self.at - 1).into());
                }
                _ => {
                    let at = self.at - usize::from(char.is_some());
                    return Err(syntax("missing -, : or )", at).into());
                }
            }
        }
    }

    fn open_flagged(&mut self, flags: Flags, position: usize) {
        let outer = self.flags;
        let letters = |on: bool| -> String {
            [
                (outer.ignore_case, flags.ignore_case, 'i'),
                (outer.multiline, flags.multiline, 'm'),
                (outer.dot_all, flags.dot_all, 's'),
            ]
            .iter()
            .filter_map(|(was, is, letter)| (was != is && *is == on).then_some(*letter))
            .collect()
        };
        let (on, off) = (letters(true), letters(false));
        let off = if off.is_empty() {
            off
        } else {
            format!("-{off}")
        };
        self.push_open(&format!("(?{on}{off}:"), position);
        self.flags = flags;
    }
}

impl Flags {
    /// Sets the flag of a letter. Returns whether it is a known flag.
    fn set(&mut self, letter: char, on: bool) -> bool {
        match letter {
            'i' => self.ignore_case = on,
            'm' => self.multiline = on,
            's' => self.dot_all = on,
            'x' => self.verbose = on,
            _ => return false,
        }
        true
    }

    const fn with(self, other: Self) -> Self {
        Self {
            ignore_case: self.ignore_case || other.ignore_case,
            multiline: self.multiline || other.multiline,
            dot_all: self.dot_all || other.dot_all,
            verbose: self.verbose || other.verbose,
        }
    }
}

fn check_identifier(name: &str, at: usize) -> Result<(), RegexError> {
    let mut chars = name.chars();
    let is_start_valid = chars
        .next()
        .is_some_and(|char| char.is_alphabetic() || char == '_');
    if is_start_valid && chars.all(|char| char.is_alphanumeric() || char == '_') {
        return Ok(());
    }
    Err(syntax(format!("bad character in group name '{name}'"), at))
}
