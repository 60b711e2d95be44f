//! What does a ceph.conf say?
//!
//! ```text
//! # comment                      [section]            key = value    ; comment
//! key = "value with ; in it \"   key with spaces = a value that \
//!                                                  goes on in the next line
//! ```
//!
//! What Ceph reads is read here as Ceph does (its parser since 16: `src/common/ConfUtils.cc`), down to a `;`
//! inside quotes being a mistake. A few forms that Ceph refuses are read all the same, as there is no doubt about
//! what they mean: a last line that does not end, blanks before a section's name, settings before the first
//! section (they are global).

use std::collections::HashMap;
use std::fmt;

use zeroize::Zeroizing;

/// The settings of one file, by section and key. There may be keys of entities among them.
#[derive(Clone, Default)]
pub struct ConfFile {
    sections: HashMap<String, HashMap<String, Zeroizing<String>>>,
}

/// Where a ceph.conf stops making sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: expected {expected}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// What should stand there.
    pub expected: &'static str,
}

impl ConfFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Text that is no ceph.conf.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(text).map_err(|error| {
            let before = text.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            ParseError { line, column: 1, expected: "UTF-8" }
        })?;
        let mut cursor = Cursor { rest: text, line: 1, column: 1 };
        let mut this = Self::default();
        let mut section = String::from("global");
        loop {
            cursor.skip_blank_lines();
            match cursor.peek() {
                None => return Ok(this),
                Some('[') => {
                    section = heading(&mut cursor)?;
                    this.sections.entry(section.clone()).or_default();
                }
                Some(_) => {
                    let (key, value) = setting(&mut cursor)?;
                    // The last one wins.
                    this.sections.entry(section.clone()).or_default().insert(key, value);
                }
            }
            cursor.end_line()?;
        }
    }

    /// Whether it sets nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sections.values().all(HashMap::is_empty)
    }

    /// The value in one section. Blanks and underscores in the key are the same; so are dashes, if no key is
    /// written with the others (as Ceph's manual says, though 16.2 does not find those).
    #[must_use]
    pub fn read(&self, section: &str, key: &str) -> Option<&str> {
        let settings = self.sections.get(section)?;
        let key = normalize(key);
        let exact = settings.get(&key);
        let dashed = || {
            let same = |(name, _): &(&String, _)| name.replace('-', "_") == key.replace('-', "_");
            settings.iter().find(same).map(|(_, value)| value)
        };
        exact.or_else(dashed).map(|value| value.as_str())
    }
}

impl fmt::Debug for ConfFile {
    /// Without the values: there may be keys among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.sections.keys()).finish()
    }
}

/// A key without blanks around it, and with one underscore for each run of blanks inside.
fn normalize(key: &str) -> String {
    key.split_whitespace().collect::<Vec<_>>().join("_")
}

/// `[section]`; blanks inside the brackets belong to the name.
fn heading(cursor: &mut Cursor<'_>) -> Result<String, ParseError> {
    cursor.bump();
    let name = cursor.text(|next| next == ']');
    if name.is_empty() {
        return Err(cursor.expected("the name of a section"));
    }
    cursor.take(']', "]")?;
    Ok(name)
}

/// `key = value`.
fn setting(cursor: &mut Cursor<'_>) -> Result<(String, Zeroizing<String>), ParseError> {
    let key = cursor.text(|next| matches!(next, '=' | '['));
    let key = normalize(&key);
    if key.is_empty() {
        return Err(cursor.expected("a key"));
    }
    cursor.take('=', "=")?;
    cursor.skip_blanks();
    let value = match cursor.peek() {
        Some(quote @ ('"' | '\'')) => {
            cursor.bump();
            let value = Zeroizing::new(cursor.text(|next| next == quote));
            cursor.take(quote, "the closing quote")?;
            value
        }
        _ => cursor.text(|_| false).into(),
    };
    Ok((key, value.trim().to_owned().into()))
}

/// A place in the text.
struct Cursor<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
}

impl Cursor<'_> {
    /// The next character; lines that end in a backslash go on in the next one.
    fn peek(&mut self) -> Option<char> {
        while let Some(next) = self.rest.strip_prefix('\\').and_then(strip_line_end) {
            self.rest = next;
            self.line += 1;
            self.column = 1;
        }
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        if let Some(rest) = strip_line_end(self.rest) {
            self.rest = rest;
            self.line += 1;
            self.column = 1;
        } else {
            self.rest = self.rest.get(next.len_utf8()..).unwrap_or_default();
            self.column += 1;
        }
        Some(next)
    }

    /// Characters up to the end of the line, a comment, or one that ends the text; a backslash takes the next
    /// character as it is.
    fn text(&mut self, ends: impl Fn(char) -> bool) -> String {
        // With room for the rest of the line: what grows leaves a copy behind, and the value may be a key.
        let len = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
        let mut text = String::with_capacity(len);
        while let Some(next) = self.peek() {
            if ends(next) || matches!(next, '#' | ';' | '\n' | '\r') {
                break;
            }
            self.bump();
            let escaped = next == '\\' && self.peek().is_some();
            text.push(if escaped { self.bump().unwrap_or(next) } else { next });
        }
        text
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.bump();
        }
    }

    fn skip_comment(&mut self) {
        if matches!(self.peek(), Some('#' | ';')) {
            // A backslash at its end does not make the next line part of it.
            let len = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
            self.rest = self.rest.get(len..).unwrap_or_default();
        }
    }

    fn skip_blank_lines(&mut self) {
        loop {
            self.skip_blanks();
            self.skip_comment();
            match self.peek() {
                Some('\n' | '\r') => self.bump(),
                _ => return,
            };
        }
    }

    /// Nothing but a comment may follow in this line.
    fn end_line(&mut self) -> Result<(), ParseError> {
        self.skip_blanks();
        self.skip_comment();
        match self.peek() {
            None | Some('\n' | '\r') => Ok(()),
            Some(_) => Err(self.expected("the end of the line")),
        }
    }

    fn take(&mut self, wanted: char, expected: &'static str) -> Result<(), ParseError> {
        if self.peek() == Some(wanted) {
            self.bump();
            return Ok(());
        }
        Err(self.expected(expected))
    }

    fn expected(&self, expected: &'static str) -> ParseError {
        ParseError { line: self.line, column: self.column, expected }
    }
}

fn strip_line_end(text: &str) -> Option<&str> {
    ["\r\n", "\n", "\r"].iter().find_map(|end| text.strip_prefix(end))
}
