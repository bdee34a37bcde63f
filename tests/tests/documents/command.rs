//! A command in a document.

/// A line of a shell block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The text without its comment, joined with the lines that continue it after a backslash.
    pub(crate) text: String,
    pub(crate) comment: String,
}

/// A parsed command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The assignments `NAME=value`, as written.
    pub(crate) environment: Vec<String>,
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
}

/// The commands of a block.
pub(crate) fn lines(block: &str) -> Vec<Line> {
    let mut joined: Vec<String> = Vec::new();
    for line in block.lines() {
        match joined.last_mut() {
            Some(before) if before.ends_with('\\') => {
                before.pop();
                before.truncate(before.trim_end().len());
                before.push(' ');
                before.push_str(line.trim_start());
            }
            _ => joined.push(line.to_owned()),
        }
    }
    let lines = joined.iter().map(|line| {
        let at = comment_of(line).unwrap_or(line.len());
        let comment = line[at..].trim_start_matches('#').trim().to_owned();
        Line { text: line[..at].trim().to_owned(), comment }
    });
    lines.filter(|line| !line.text.is_empty()).collect()
}

/// The start of a comment: a `#` at the beginning or after a space, outside of quotes.
fn comment_of(line: &str) -> Option<usize> {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '#' && before.is_whitespace() => return Some(at),
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None => {}
        }
        before = c;
    }
    None
}

impl Command {
    pub(crate) fn parse(text: &str) -> Self {
        let mut words = words(text.trim_end_matches('&'));
        let is_setting = |word: &String| {
            let name = word.split_once('=').map_or("", |(name, _)| name);
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        };
        let count = words.iter().take_while(|word| is_setting(word)).count();
        let environment = words.drain(..count).collect();
        Self { environment, words }
    }

    pub(crate) fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The value of one of these cargo options, before `--`.
    pub(crate) fn option(&self, names: &[&str]) -> Option<&str> {
        let own = self.words.iter().take_while(|word| *word != "--");
        own.skip_while(|word| !names.contains(&word.as_str())).nth(1).map(String::as_str)
    }

    /// The arguments after `--`.
    pub(crate) fn rest(&self) -> &[String] {
        let at = self.words.iter().position(|word| word == "--");
        at.map_or(&[], |at| &self.words[at + 1..])
    }
}

/// Splits at spaces outside of quotes and of `$(..)`. Removes the quotes.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut depth) = (Vec::new(), String::new(), None, 0_u32);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c.is_whitespace() && depth == 0 => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            }
            (_, c) => {
                match (quote, c) {
                    (None, '(') => depth += 1,
                    (None, ')') => depth = depth.saturating_sub(1),
                    _ => {}
                }
                word.push(c);
            }
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}
