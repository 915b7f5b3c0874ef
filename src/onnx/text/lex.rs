//! Text to tokens, and the cursor that the parsers share.

use std::borrow::Cow;

use super::{MAX_DEPTH, TextError, names};

pub(super) type Result<T> = std::result::Result<T, TextError>;

/// Longest piece of the text that a message repeats.
const MAX_QUOTE: usize = 40;

const PUNCTUATION: &str = "<>(){}[],:=@?.";

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    Id(&'a str),
    Text(Cow<'a, str>),
    Int(&'a str),
    Float(&'a str),
    Punct(char),
    Arrow,
    End,
}

impl Token<'_> {
    fn describe(&self) -> String {
        match self {
            Token::Id(id) => format!("`{}`", shortened(id)),
            Token::Text(text) => format!("the string {}", names::quoted(&shortened(text))),
            Token::Int(number) | Token::Float(number) => format!("the number {}", shortened(number)),
            Token::Punct(letter) => format!("`{letter}`"),
            Token::Arrow => "`=>`".to_owned(),
            Token::End => "the end of the text".to_owned(),
        }
    }
}

fn shortened(text: &str) -> String {
    let mut short: String =
        text.chars().take(MAX_QUOTE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The text with one token of look-ahead.
pub(super) struct Cursor<'a> {
    text: &'a str,
    /// Where the next token ends.
    end: usize,
    /// Where the next token starts.
    start: usize,
    next: Token<'a>,
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self> {
        let mut cursor = Self { text, end: 0, start: 0, next: Token::End, depth: 0 };
        cursor.bump()?;
        Ok(cursor)
    }

    pub(super) fn peek(&self) -> &Token<'a> {
        &self.next
    }

    pub(super) fn peek_is(&self, punct: char) -> bool {
        self.next == Token::Punct(punct)
    }

    /// The offset of the next token, for [`Cursor::error_at`].
    pub(super) fn offset(&self) -> usize {
        self.start
    }

    /// Takes the next token.
    pub(super) fn bump(&mut self) -> Result<Token<'a>> {
        let rest = skip_blank(self.text.get(self.end..).unwrap_or_default());
        self.start = self.text.len() - rest.len();
        let (token, length) = lex(rest).map_err(|(at, message)| self.error_at(self.start + at, message))?;
        self.end = self.start + length;
        Ok(std::mem::replace(&mut self.next, token))
    }

    /// Takes the punctuation if it comes next.
    pub(super) fn eat(&mut self, punct: char) -> Result<bool> {
        let found = self.peek_is(punct);
        if found {
            self.bump()?;
        }
        Ok(found)
    }

    pub(super) fn expect(&mut self, punct: char) -> Result<()> {
        if self.eat(punct)? { Ok(()) } else { Err(self.unexpected(&format!("`{punct}`"))) }
    }

    pub(super) fn arrow(&mut self) -> Result<()> {
        if self.next != Token::Arrow {
            return Err(self.unexpected("`=>`"));
        }
        self.bump().map(drop)
    }

    /// An identifier.
    pub(super) fn id(&mut self, what: &str) -> Result<&'a str> {
        let Token::Id(id) = self.next else { return Err(self.unexpected(what)) };
        self.bump()?;
        Ok(id)
    }

    /// An identifier or a string.
    pub(super) fn name(&mut self, what: &str) -> Result<String> {
        match self.optional_name()? {
            Some(name) => Ok(name),
            None => Err(self.unexpected(what)),
        }
    }

    pub(super) fn optional_name(&mut self) -> Result<Option<String>> {
        if !matches!(self.next, Token::Id(_) | Token::Text(_)) {
            return Ok(None);
        }
        Ok(match self.bump()? {
            Token::Id(id) => Some(id.to_owned()),
            Token::Text(text) => Some(text.into_owned()),
            _ => None,
        })
    }

    pub(super) fn string(&mut self, what: &str) -> Result<String> {
        if !matches!(self.next, Token::Text(_)) {
            return Err(self.unexpected(what));
        }
        Ok(self.optional_name()?.unwrap_or_default())
    }

    pub(super) fn int64(&mut self, what: &str) -> Result<i64> {
        let Token::Int(digits) = self.next else { return Err(self.unexpected(what)) };
        let value = digits.parse().map_err(|_| self.overflow(digits, "int64"))?;
        self.bump()?;
        Ok(value)
    }

    pub(super) fn uint64(&mut self, what: &str) -> Result<u64> {
        let Token::Int(digits) = self.next else { return Err(self.unexpected(what)) };
        let value = digits.parse().map_err(|_| self.overflow(digits, "uint64"))?;
        self.bump()?;
        Ok(value)
    }

    pub(super) fn float(&mut self) -> Result<f32> {
        let digits = self.number()?;
        let value: f32 = digits.parse().map_err(|_| self.unexpected("a number"))?;
        self.check_finite(digits, value.is_infinite(), "float")?;
        self.bump()?;
        Ok(value)
    }

    pub(super) fn double(&mut self) -> Result<f64> {
        let digits = self.number()?;
        let value: f64 = digits.parse().map_err(|_| self.unexpected("a number"))?;
        self.check_finite(digits, value.is_infinite(), "double")?;
        self.bump()?;
        Ok(value)
    }

    fn number(&self) -> Result<&'a str> {
        match self.next {
            Token::Int(digits) | Token::Float(digits) => Ok(digits),
            Token::Id(word) if names::is_float_word(word) => Ok(word),
            _ => Err(self.unexpected("a number")),
        }
    }

    fn check_finite(&self, digits: &str, infinite: bool, what: &str) -> Result<()> {
        let spelt_out = digits.ends_with(|letter: char| letter.is_ascii_alphabetic());
        if infinite && !spelt_out { Err(self.overflow(digits, what)) } else { Ok(()) }
    }

    /// Comma-separated items up to `close`, whose opening sign has been taken; there may be none.
    pub(super) fn list(&mut self, close: char, item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        if self.eat(close)? { Ok(()) } else { self.filled_list(close, item) }
    }

    /// Comma-separated items up to `close`, at least one.
    pub(super) fn filled_list(
        &mut self,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        loop {
            item(self)?;
            if self.eat(close)? {
                return Ok(());
            }
            if !self.eat(',')? {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
    }

    /// Runs a parser one level deeper, unless that is too deep.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == MAX_DEPTH {
            let message = format!("expected at most {MAX_DEPTH} levels of nesting, found one more");
            return Err(self.error_here(message));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    pub(super) fn unexpected(&self, what: &str) -> TextError {
        self.error_here(format!("expected {what}, found {}", self.next.describe()))
    }

    pub(super) fn overflow(&self, digits: &str, what: &str) -> TextError {
        self.error_here(format!("expected a number that fits {what}, found {}", shortened(digits)))
    }

    pub(super) fn error_here(&self, message: String) -> TextError {
        self.error_at(self.start, message)
    }

    pub(super) fn error_at(&self, offset: usize, message: String) -> TextError {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before[line_start..].chars().count() + 1;
        TextError { line: before.matches('\n').count() + 1, column, message }
    }
}

fn skip_blank(mut rest: &str) -> &str {
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
        if !rest.starts_with('#') {
            return rest;
        }
        rest = rest.find('\n').map_or("", |newline| &rest[newline..]);
    }
}

/// Where in the rest of the text (in bytes) something is wrong, and what.
type LexError = (usize, String);

/// The token at the start of `rest`, which starts with no blank, and its length in bytes.
fn lex(rest: &str) -> std::result::Result<(Token<'_>, usize), LexError> {
    let Some(first) = rest.chars().next() else { return Ok((Token::End, 0)) };
    if first == '"' {
        return lex_text(rest);
    }
    if first.is_ascii_digit() || first == '-' {
        return lex_number(rest);
    }
    let id = id_len(rest);
    if id > 0 {
        return Ok((Token::Id(&rest[..id]), id));
    }
    if rest.starts_with("=>") {
        return Ok((Token::Arrow, 2));
    }
    if PUNCTUATION.contains(first) {
        return Ok((Token::Punct(first), 1));
    }
    Err((
        0,
        format!(
            "expected a name, a number, a string or one of {PUNCTUATION} and `=>`, found `{}`",
            first.escape_debug()
        ),
    ))
}

fn id_len(rest: &str) -> usize {
    if !rest.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        return 0;
    }
    rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len())
}

fn lex_text(rest: &str) -> std::result::Result<(Token<'_>, usize), LexError> {
    let body = &rest[1..];
    let mut unescaped: Option<String> = None;
    let mut letters = body.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => {
                let text = unescaped.map_or(Cow::Borrowed(&body[..at]), Cow::Owned);
                return Ok((Token::Text(text), at + 2));
            }
            '\\' => {
                let text = unescaped.get_or_insert_with(|| body[..at].to_owned());
                text.extend(letters.next().map(|(_, escaped)| escaped));
            }
            _ => {
                if let Some(text) = &mut unescaped {
                    text.push(letter);
                }
            }
        }
    }
    Err((0, "expected a closing `\"`, found the end of the text".to_owned()))
}

fn lex_number(rest: &str) -> std::result::Result<(Token<'_>, usize), LexError> {
    let sign = usize::from(rest.starts_with('-'));
    let word = id_len(&rest[sign..]);
    if word > 0 {
        let length = sign + word;
        if names::is_float_word(&rest[sign..length]) {
            return Ok((Token::Float(&rest[..length]), length));
        }
        return Err((0, format!("expected a number, found `{}`", shortened(&rest[..length]))));
    }
    let mut end = sign + digits_len(&rest[sign..]);
    if end == sign {
        return Err((end, "expected a digit after `-`".to_owned()));
    }
    let mut is_float = false;
    if rest[end..].starts_with('.') {
        is_float = true;
        end += 1 + digits_len(&rest[end + 1..]);
    }
    if rest[end..].starts_with(['e', 'E']) {
        is_float = true;
        let signed = rest[end + 1..].starts_with(['+', '-']);
        let exponent = end + 1 + usize::from(signed);
        end = exponent + digits_len(&rest[exponent..]);
        if end == exponent {
            return Err((end, "expected a digit in the exponent".to_owned()));
        }
    }
    let digits = &rest[..end];
    Ok((if is_float { Token::Float(digits) } else { Token::Int(digits) }, end))
}

fn digits_len(rest: &str) -> usize {
    rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len())
}
