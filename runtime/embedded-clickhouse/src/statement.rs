//! Statements as text: where the data of an insert begins, what format an
//! answer has.
//!
//! Owns just enough of ClickHouse's lexer (quotes, comments, heredocs,
//! brackets) to find keywords that stand outside of them. Does not judge
//! statements: the engine's parser does.

/// How a statement is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// As it stands.
    Whole,
    /// An insert with data, which must never reach the engine's parser: it
    /// would cut the data at two line feeds and run the rest as SQL.
    Insert {
        /// Where the statement proper ends (before FORMAT or VALUES).
        statement_end: usize,
        /// Name of the data's format.
        format: String,
        /// Where the data begins.
        data_start: usize,
    },
}

/// Splits the data off an insert.
pub(crate) fn split_insert(sql: &[u8]) -> Split {
    let mut tokens = Tokens::new(sql).filter(|token| token.depth == 0).peekable();
    if !tokens.next().is_some_and(|token| token.is(sql, "INSERT")) {
        return Split::Whole;
    }
    while tokens.next_if(|t| ["INTO", "TABLE", "FUNCTION"].iter().any(|word| t.is(sql, word))).is_some() {}
    // The table's name may itself read like a keyword; so may what follows a dot.
    tokens.next();
    while tokens.next_if(|t| t.text(sql) == b".").is_some() {
        tokens.next();
    }
    while let Some(token) = tokens.next() {
        if token.is(sql, "SELECT") || token.is(sql, "WITH") {
            return Split::Whole;
        }
        if token.is(sql, "VALUES") {
            let format = "Values".to_owned();
            return Split::Insert { statement_end: token.start, format, data_start: token.end };
        }
        if token.is(sql, "FORMAT")
            && let Some(name) = tokens.peek().filter(|name| name.word)
        {
            return Split::Insert {
                statement_end: token.start,
                format: String::from_utf8_lossy(name.text(sql)).into_owned(),
                data_start: data_start(sql, name.end),
            };
        }
    }
    Split::Whole
}

/// After the format's name: blanks, a semicolon, and at most one line end
/// belong to the statement; everything else is data.
fn data_start(sql: &[u8], name_end: usize) -> usize {
    let blanks = |from: usize| {
        from + sql.get(from..).unwrap_or_default().iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
    };
    let mut at = blanks(name_end);
    if sql.get(at) == Some(&b';') {
        at = blanks(at + 1);
    }
    if sql.get(at) == Some(&b'\r') && sql.get(at + 1) == Some(&b'\n') {
        at + 2
    } else if sql.get(at) == Some(&b'\n') {
        at + 1
    } else {
        at
    }
}

/// What an answering statement asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answering {
    /// The format that its FORMAT clause names.
    pub(crate) format: Option<String>,
    /// A plain select, whose result can be streamed.
    pub(crate) streamable: bool,
}

/// Looks for the FORMAT clause and the kind of a statement.
pub(crate) fn answering(sql: &[u8]) -> Answering {
    let all: Vec<Token> = Tokens::new(sql).collect();
    let first = all.iter().find(|token| token.word);
    let selects = first.is_some_and(|token| token.is(sql, "SELECT") || token.is(sql, "WITH"));
    let top: Vec<&Token> = all.iter().filter(|token| token.depth == 0).collect();
    let totals = top.iter().any(|token| token.is(sql, "TOTALS"));
    // `SELECT format FROM t` has no FORMAT clause: the name must end the
    // statement, or stand before its settings.
    let format = top.windows(2).enumerate().find_map(|(index, pair)| {
        let ends = match top.get(index + 2) {
            None => true,
            Some(next) => next.text(sql) == b";" || next.is(sql, "SETTINGS"),
        };
        (index > 0 && ends && pair[0].is(sql, "FORMAT") && pair[1].word)
            .then(|| String::from_utf8_lossy(pair[1].text(sql)).into_owned())
    });
    Answering { format, streamable: selects && !totals }
}

/// Does the statement begin with this word?
pub(crate) fn begins_with(sql: &[u8], word: &str) -> bool {
    Tokens::new(sql).next().is_some_and(|token| token.is(sql, word))
}

/// Is there nothing but blanks and comments?
pub(crate) fn is_empty(sql: &[u8]) -> bool {
    Tokens::new(sql).next().is_none()
}

/// A string literal.
pub(crate) fn quoted(value: &str) -> String {
    enclosed(value, '\'')
}

/// An identifier.
pub(crate) fn identifier(name: &str) -> String {
    enclosed(name, '`')
}

fn enclosed(value: &str, quote: char) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push(quote);
    for c in value.chars() {
        if c == '\\' || c == quote {
            text.push('\\');
        }
        text.push(c);
    }
    text.push(quote);
    text
}

struct Token {
    start: usize,
    end: usize,
    /// Brackets open around it.
    depth: usize,
    /// A bare word: keyword, name or number.
    word: bool,
}

impl Token {
    fn text<'a>(&self, sql: &'a [u8]) -> &'a [u8] {
        sql.get(self.start..self.end).unwrap_or_default()
    }

    fn is(&self, sql: &[u8], word: &str) -> bool {
        self.word && self.text(sql).eq_ignore_ascii_case(word.as_bytes())
    }
}

struct Tokens<'a> {
    sql: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Tokens<'a> {
    fn new(sql: &'a [u8]) -> Self {
        Self { sql, at: 0, depth: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            self.at += match rest {
                [b, ..] if b.is_ascii_whitespace() || *b == 0x0b => 1,
                [b'-', b'-', ..] | [b'#', b' ' | b'!', ..] => {
                    rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
                }
                [b'/', b'*', comment @ ..] => {
                    comment.windows(2).position(|w| w == b"*/").map_or(rest.len(), |end| end + 4)
                }
                _ => return,
            };
        }
    }

    /// The length of the token that begins here, which is not blank.
    fn length(&self) -> (usize, bool) {
        let rest = self.rest();
        match rest {
            [quote @ (b'\'' | b'"' | b'`'), body @ ..] => {
                let mut escaped = false;
                let close = body.iter().position(|b| {
                    let closes = b == quote && !escaped;
                    escaped = *b == b'\\' && !escaped;
                    closes
                });
                // A doubled quote reads as two literals side by side, which
                // comes to the same here.
                (close.map_or(rest.len(), |close| close + 2), false)
            }
            [b'$', body @ ..] => {
                let tag = body.iter().position(|b| !is_word(*b)).filter(|end| body.get(*end) == Some(&b'$'));
                let Some(tag) = tag.and_then(|end| rest.get(..end + 2)) else { return (1, false) };
                let inner = rest.get(tag.len()..).unwrap_or_default();
                let close = inner.windows(tag.len()).position(|window| window == tag);
                (close.map_or(rest.len(), |close| close + 2 * tag.len()), false)
            }
            [b, ..] if is_word(*b) => (rest.iter().take_while(|b| is_word(**b)).count(), true),
            _ => (1, false),
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blanks_and_comments();
        let first = *self.rest().first()?;
        let (length, word) = self.length();
        if matches!(first, b')' | b']' | b'}') {
            self.depth = self.depth.saturating_sub(1);
        }
        let token = Token { start: self.at, end: self.at + length, depth: self.depth, word };
        if matches!(first, b'(' | b'[' | b'{') {
            self.depth += 1;
        }
        self.at += length;
        Some(token)
    }
}

#[cfg(test)]
mod tests;
