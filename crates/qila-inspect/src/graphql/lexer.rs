//! The tokens of a document (GraphQL, October 2021, section 2.1).
use super::GraphqlError;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lexeme<'a> {
    Name(&'a str),
    /// One of `! $ & ( ) : = @ [ ] { | }`.
    Mark(u8),
    /// `...`
    Spread,
    Number,
    Text,
}

/// A token and its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub lexeme: Lexeme<'a>,
    pub from: usize,
    pub to: usize,
}

/// Reads tokens.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> usize {
        let from = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.at - from
    }

    pub fn error(&self) -> GraphqlError {
        GraphqlError::Syntax(self.at)
    }

    /// The next token; none: the end.
    pub fn next(&mut self) -> Result<Option<Token<'a>>, GraphqlError> {
        loop {
            self.take(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b','));
            if self.peek() != Some(b'#') {
                break;
            }
            self.comment()?;
        }
        let from = self.at;
        let Some(first) = self.peek() else { return Ok(None) };
        let lexeme = match first {
            b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|' | b'}' => {
                self.at += 1;
                Lexeme::Mark(first)
            }
            b'.' if self.rest().starts_with("...") => {
                self.at += 3;
                Lexeme::Spread
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.take(is_name);
                Lexeme::Name(self.text.get(from..self.at).unwrap_or_default())
            }
            b'-' | b'0'..=b'9' => self.number()?,
            b'"' if self.rest().starts_with("\"\"\"") => self.block()?,
            b'"' => self.string()?,
            _ => return Err(self.error()),
        };
        Ok(Some(Token {
            lexeme,
            from,
            to: self.at,
        }))
    }

    fn comment(&mut self) -> Result<(), GraphqlError> {
        for c in self.rest().chars() {
            match c {
                '\n' | '\r' => break,
                // Earlier drafts ended a line here as well, and a comment with it.
                '\u{85}' | '\u{2028}' | '\u{2029}' => return Err(self.error()),
                c if c.is_control() && c != '\t' => return Err(self.error()),
                c => self.at += c.len_utf8(),
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Lexeme<'a>, GraphqlError> {
        let digit = |b: u8| b.is_ascii_digit();
        self.take_one(b"-");
        let zero = self.peek() == Some(b'0');
        let whole = self.take(digit);
        if whole == 0 || (zero && whole > 1) {
            return Err(self.error());
        }
        if self.take_one(b".") && self.take(digit) == 0 {
            return Err(self.error());
        }
        if self.take_one(b"eE") {
            self.take_one(b"+-");
            if self.take(digit) == 0 {
                return Err(self.error());
            }
        }
        // Where one number ends and a name begins is not for each reader to decide.
        if self.peek().is_some_and(|b| is_name(b) || b == b'.') {
            return Err(self.error());
        }
        Ok(Lexeme::Number)
    }

    fn take_one(&mut self, of: &[u8]) -> bool {
        let is = self.peek().is_some_and(|b| of.contains(&b));
        self.at += usize::from(is);
        is
    }

    fn string(&mut self) -> Result<Lexeme<'a>, GraphqlError> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Lexeme::Text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let escape = self.peek();
                    self.at += 1;
                    match escape {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                        Some(b'u') => self.code()?,
                        _ => return Err(self.error()),
                    }
                }
                Some(b) if b >= b' ' || b == b'\t' => self.at += 1,
                _ => return Err(self.error()),
            }
        }
    }

    /// Four digits, or braces around some.
    fn code(&mut self) -> Result<(), GraphqlError> {
        let braced = self.take_one(b"{");
        let from = self.at;
        while self.at - from < 8 && self.peek().is_some_and(|b| b.is_ascii_hexdigit()) {
            self.at += 1;
            if !braced && self.at - from == 4 {
                return Ok(());
            }
        }
        if braced && self.at > from && self.take_one(b"}") {
            return Ok(());
        }
        Err(self.error())
    }

    fn block(&mut self) -> Result<Lexeme<'a>, GraphqlError> {
        self.at += 3;
        loop {
            let rest = self.rest();
            if rest.starts_with("\"\"\"") {
                self.at += 3;
                return Ok(Lexeme::Text);
            }
            if rest.starts_with("\\\"\"\"") {
                self.at += 4;
                continue;
            }
            match rest.chars().next() {
                Some(c) if c >= ' ' || matches!(c, '\t' | '\r' | '\n') => self.at += c.len_utf8(),
                _ => return Err(self.error()),
            }
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
