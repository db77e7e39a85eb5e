use std::ops::Range;

use logos::Logos;

use crate::{Error, Place};

/// Words are matched in any case, as the service does; names keep theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Logos)]
#[logos(skip r"[ \t\r\n\f]+")]
#[logos(skip(r"--[^\n]*", allow_greedy = true))]
pub(crate) enum Token {
    #[token("select", ignore(case))]
    Select,
    #[token("distinct", ignore(case))]
    Distinct,
    #[token("top", ignore(case))]
    Top,
    #[token("value", ignore(case))]
    Value,
    #[token("as", ignore(case))]
    As,
    #[token("from", ignore(case))]
    From,
    #[token("join", ignore(case))]
    Join,
    #[token("where", ignore(case))]
    Where,
    #[token("group", ignore(case))]
    Group,
    #[token("order", ignore(case))]
    Order,
    #[token("by", ignore(case))]
    By,
    #[token("asc", ignore(case))]
    Asc,
    #[token("desc", ignore(case))]
    Desc,
    #[token("offset", ignore(case))]
    Offset,
    #[token("limit", ignore(case))]
    Limit,
    #[token("and", ignore(case))]
    And,
    #[token("or", ignore(case))]
    Or,
    #[token("not", ignore(case))]
    Not,
    #[token("in", ignore(case))]
    In,
    #[token("between", ignore(case))]
    Between,
    #[token("like", ignore(case))]
    Like,
    #[token("escape", ignore(case))]
    Escape,
    #[token("true", ignore(case))]
    True,
    #[token("false", ignore(case))]
    False,
    #[token("null", ignore(case))]
    Null,
    #[token("undefined", ignore(case))]
    Undefined,
    #[regex(r"[\p{L}_][\p{L}\p{N}_]*", priority = 1)]
    Name,
    #[regex(r"@[A-Za-z0-9_]+")]
    Parameter,
    #[regex(r#"'([^'\\]|\\.)*'"#)]
    #[regex(r#""([^"\\]|\\.)*""#)]
    Text,
    #[regex(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", priority = 10)]
    Number,
    // Without it `0xFF` would be the number 0 under the alias xFF.
    #[regex(r"[0-9]+(\.[0-9]+)?[\p{L}_][\p{L}\p{N}_]*", priority = 5)]
    MalformedNumber,
    #[token(".")]
    Dot,
    #[token(",")]
    Comma,
    #[token(":")]
    Colon,
    #[token("(")]
    OpenParen,
    #[token(")")]
    CloseParen,
    #[token("[")]
    OpenBracket,
    #[token("]")]
    CloseBracket,
    #[token("{")]
    OpenBrace,
    #[token("}")]
    CloseBrace,
    #[token("*")]
    Star,
    #[token("/")]
    Slash,
    #[token("%")]
    Percent,
    #[token("+")]
    Plus,
    #[token("-")]
    Minus,
    #[token("=")]
    Equal,
    #[token("!=")]
    #[token("<>")]
    NotEqual,
    #[token("<")]
    Less,
    #[token("<=")]
    LessOrEqual,
    #[token(">")]
    Greater,
    #[token(">=")]
    GreaterOrEqual,
    #[token("||")]
    Concat,
    #[token("??")]
    Coalesce,
    #[token("?")]
    Question,
    #[regex(r"&|\||\^|~|<<|>>|>>>")]
    BitOperator,
}

impl Token {
    pub(crate) fn is_reserved_word(self) -> bool {
        (self as u8) < Self::Name as u8
    }
}

/// A token and the bytes it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spanned {
    pub(crate) token: Token,
    pub(crate) bytes: Range<usize>,
}

pub(crate) fn tokens(text: &str) -> Result<Vec<Spanned>, Error> {
    let mut found = Vec::new();
    for (token, bytes) in Token::lexer(text).spanned() {
        match token {
            Ok(Token::MalformedNumber) => {
                let reason = format!("{} is not a number", &text[bytes.clone()]);
                return Err(Error::Syntax { place: Place::of(text, bytes.start), reason });
            }
            Ok(token) => found.push(Spanned { token, bytes }),
            Err(()) => {
                let reason = match text[bytes.start..].chars().next() {
                    Some('\'' | '"') => "this text literal has no end".to_owned(),
                    Some(character) => format!("{character:?} means nothing here"),
                    None => "the query ends too early".to_owned(),
                };
                return Err(Error::Syntax { place: Place::of(text, bytes.start), reason });
            }
        }
    }
    Ok(found)
}

/// What a text literal, quotes included, stands for; otherwise what is wrong with it.
pub(crate) fn unescape(literal: &str) -> Result<String, String> {
    let mut text = String::with_capacity(literal.len());
    let mut characters = literal[1..literal.len() - 1].chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some(plain @ ('\'' | '"' | '\\' | '/')) => text.push(plain),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => text.push(unicode(&mut characters)?),
            other => return Err(format!("\\{} is not an escape", other.map(String::from).unwrap_or_default())),
        }
    }
    Ok(text)
}

fn unicode(characters: &mut std::str::Chars<'_>) -> Result<char, String> {
    let first = hex_unit(characters)?;
    let units = if (0xD800..0xDC00).contains(&first) {
        if !characters.as_str().starts_with("\\u") {
            return Err(format!("\\u{first:04x} is half of a surrogate pair"));
        }
        characters.by_ref().take(2).for_each(drop);
        vec![first, hex_unit(characters)?]
    } else {
        vec![first]
    };
    match char::decode_utf16(units).next() {
        Some(Ok(character)) => Ok(character),
        _ => Err(format!("\\u{first:04x} is half of a surrogate pair")),
    }
}

fn hex_unit(characters: &mut std::str::Chars<'_>) -> Result<u16, String> {
    let digits: String = characters.by_ref().take(4).collect();
    match u16::from_str_radix(&digits, 16) {
        Ok(unit) if digits.len() == 4 && !digits.starts_with('+') => Ok(unit),
        _ => Err("\\u needs four hex digits".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Token> {
        tokens(text).unwrap().into_iter().map(|spanned| spanned.token).collect()
    }

    #[test]
    fn words_match_in_any_case_and_names_that_begin_like_them_stay_names() {
        assert_eq!(kinds("SeLeCt selects in inner"), [Token::Select, Token::Name, Token::In, Token::Name]);
        assert!(Token::Undefined.is_reserved_word() && !Token::Name.is_reserved_word());
    }

    #[test]
    fn comments_and_white_space_are_skipped() {
        assert_eq!(kinds("1 -- a - comment\n - 2"), [Token::Number, Token::Minus, Token::Number]);
        assert_eq!(kinds("1 -- at the end"), [Token::Number]);
    }

    #[test]
    fn escapes_stand_for_what_json_means_by_them() {
        assert_eq!(unescape(r#"'it\'s \u00e9 \ud83d\ude00 \\ \n'"#).unwrap(), "it's é 😀 \\ \n");
        for bad in [r"'\x'", r"'\u12'", r"'\ud83d'", r"'\ud83dxx'", r"'\ud83dA'", r"'\udc00'"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_token_is_reported_where_it_stands() {
        for (text, column) in [("SELECT 0xFF", 8), ("SELECT 'abc", 8), ("a ; b", 3), ("1.5x", 1)] {
            match tokens(text) {
                Err(Error::Syntax { place, .. }) => assert_eq!(place, Place { line: 1, column }, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
