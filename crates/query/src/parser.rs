use crate::ast::{Count, Expr, From, Item, Ordered, Projection, Select};
use crate::expression::Aggregates;
use crate::grouping;
use crate::token::{Spanned, Token, tokens};
use crate::{Error, Place};

/// Parses one SELECT.
pub fn parse(text: &str) -> Result<Select, Error> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        text,
        tokens: &tokens,
        next: 0,
        container: None,
        names: Vec::new(),
        depth: 0,
        links: 0,
        aggregates: Aggregates::Allowed,
    };
    let select = parser.select()?;
    if parser.next < parser.tokens.len() {
        return Err(parser.unexpected("the end of the query"));
    }
    Ok(select)
}

/// A cursor over the tokens; the clauses are here, FROM is in `from.rs`, expressions are in `expression.rs`.
pub(crate) struct Parser<'t> {
    text: &'t str,
    tokens: &'t [Spanned],
    next: usize,
    /// Known once the outermost FROM has been read: what is inside is a subquery.
    pub(crate) container: Option<&'t str>,
    /// What FROM and those around it name, innermost last, and what each means.
    pub(crate) names: Vec<(String, Expr)>,
    pub(crate) depth: usize,
    pub(crate) links: usize,
    pub(crate) aggregates: Aggregates,
}

impl<'t> Parser<'t> {
    pub(crate) fn select(&mut self) -> Result<Select, Error> {
        self.expect(Token::Select, "SELECT")?;
        let known = self.names.len();
        // The list comes before FROM, but what its names mean is said there.
        let (from, behind_from) = self.read_ahead()?;
        let distinct = self.take(Token::Distinct);
        let top = if self.take(Token::Top) { Some(self.count("TOP")?) } else { None };
        let places = self.next;
        let (projection, items) = self.projection(&from.document)?;
        let inputs = from.sources.len() + usize::from(from.is_named);
        if projection == Projection::Whole && inputs != 1 {
            return Err(self.syntax_at(places, format!("* is all of one thing; FROM has {inputs}")));
        }
        if let Some(behind) = behind_from {
            if self.peek() != Some(Token::From) {
                return Err(self.unexpected("FROM"));
            }
            self.next = behind;
        }
        self.aggregates = Aggregates::NotIn("WHERE");
        let filter = if self.take(Token::Where) { Some(self.expression()?) } else { None };
        self.aggregates = Aggregates::NotIn("GROUP BY");
        let group_by =
            if self.take_pair(Token::Group, "GROUP BY")? { self.list(Self::expression)? } else { Vec::new() };
        self.aggregates = Aggregates::NotIn("ORDER BY");
        let order_at = self.next;
        let order_by = if self.take_pair(Token::Order, "ORDER BY")? { self.list(Self::ordered)? } else { Vec::new() };
        let window_at = self.next;
        let window = if self.take(Token::Offset) {
            let offset = self.count("OFFSET")?;
            self.expect(Token::Limit, "LIMIT after OFFSET")?;
            Some((offset, self.count("LIMIT")?))
        } else {
            None
        };
        if top.is_some() && window.is_some() {
            return Err(self.syntax_at(window_at, "OFFSET LIMIT cannot be used together with TOP"));
        }
        self.names.truncate(known);
        let select = Select { distinct, top, projection, from, filter, group_by, order_by, window };
        if let Err((item, reason)) = grouping::plan(&select.projection, &select.group_by, &select.from.document) {
            return Err(self.syntax_at(items.get(item).copied().unwrap_or(places), reason));
        }
        if grouping::is_grouped(&select) && !select.order_by.is_empty() {
            return Err(self.unsupported_at(order_at, "ORDER BY together with aggregates or GROUP BY"));
        }
        Ok(select)
    }

    /// Reads FROM before its turn. Also says where it ends; a subquery may have none.
    fn read_ahead(&mut self) -> Result<(From, Option<usize>), Error> {
        let here = self.next;
        let Some(at) = self.own_from() else {
            let Some(document) = self.container else {
                self.next = self.tokens.len();
                return Err(self.unsupported_at(here - 1, "SELECT without FROM"));
            };
            return Ok((From { document: document.to_owned(), is_named: false, sources: Vec::new() }, None));
        };
        self.next = at + 1;
        let aggregates = std::mem::replace(&mut self.aggregates, Aggregates::NotIn("FROM"));
        let from = self.from()?;
        self.aggregates = aggregates;
        Ok((from, Some(std::mem::replace(&mut self.next, here))))
    }

    /// The FROM that belongs to the SELECT just passed, and not to a subquery in its list or to one around it.
    fn own_from(&self) -> Option<usize> {
        let mut open = 0_usize;
        for (index, spanned) in self.tokens.iter().enumerate().skip(self.next) {
            match spanned.token {
                Token::From if open == 0 => return Some(index),
                Token::OpenParen => open += 1,
                Token::CloseParen => open = open.checked_sub(1)?,
                _ => {}
            }
        }
        None
    }

    /// Also where each item of a list begins.
    fn projection(&mut self, document: &str) -> Result<(Projection, Vec<usize>), Error> {
        if self.take(Token::Star) {
            return Ok((Projection::Whole, Vec::new()));
        }
        if self.take(Token::Value) {
            return Ok((Projection::Value(self.expression()?), Vec::new()));
        }
        let mut starts = Vec::new();
        let mut names = Vec::new();
        let items = self.list(|parser| {
            let start = parser.next;
            let item = parser.item()?;
            let name = item.name(names.len(), document);
            if names.contains(&name) {
                return Err(parser.syntax_at(start, format!("the result would have two properties {name:?}")));
            }
            starts.push(start);
            names.push(name);
            Ok(item)
        })?;
        Ok((Projection::List(items), starts))
    }

    fn item(&mut self) -> Result<Item, Error> {
        let expr = self.expression()?;
        let alias = if self.take(Token::As) || self.peek() == Some(Token::Name) {
            Some(self.name("a name after AS")?.to_owned())
        } else {
            None
        };
        Ok(Item { expr, alias })
    }

    fn ordered(&mut self) -> Result<Ordered, Error> {
        let expr = self.expression()?;
        let descending = self.take(Token::Desc);
        if !descending {
            self.take(Token::Asc);
        }
        Ok(Ordered { expr, descending })
    }

    fn count(&mut self, what: &str) -> Result<Count, Error> {
        match self.peek() {
            Some(Token::Parameter) => Ok(Count::Parameter(self.advance().to_owned())),
            Some(Token::Number) => match self.slice(self.next).parse() {
                Ok(count) => {
                    self.next += 1;
                    Ok(Count::Literal(count))
                }
                Err(_) => Err(self.syntax_at(self.next, format!("{what} takes a whole number"))),
            },
            _ => Err(self.unexpected(&format!("a whole number or a parameter after {what}"))),
        }
    }

    /// One or more, with commas between.
    pub(crate) fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let mut found = vec![one(self)?];
        while self.take(Token::Comma) {
            found.push(one(self)?);
        }
        Ok(found)
    }

    /// Any number up to `close`, which is taken too.
    pub(crate) fn list_until<T>(
        &mut self,
        close: Token,
        name: &str,
        one: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        if self.take(close) {
            return Ok(Vec::new());
        }
        let found = self.list(one)?;
        self.expect(close, name)?;
        Ok(found)
    }

    pub(crate) fn peek(&self) -> Option<Token> {
        self.peek_at(self.next)
    }

    pub(crate) fn peek_second(&self) -> Option<Token> {
        self.peek_at(self.next + 1)
    }

    fn peek_at(&self, index: usize) -> Option<Token> {
        self.tokens.get(index).map(|spanned| spanned.token)
    }

    pub(crate) fn position(&self) -> usize {
        self.next
    }

    /// The text of the token that comes next, which is passed.
    pub(crate) fn advance(&mut self) -> &'t str {
        self.next += 1;
        self.slice(self.next - 1)
    }

    fn slice(&self, index: usize) -> &'t str {
        self.tokens.get(index).map_or("", |spanned| &self.text[spanned.bytes.clone()])
    }

    pub(crate) fn take(&mut self, token: Token) -> bool {
        let there = self.peek() == Some(token);
        self.next += usize::from(there);
        there
    }

    /// `first` must then be followed by BY.
    fn take_pair(&mut self, first: Token, name: &str) -> Result<bool, Error> {
        let there = self.take(first);
        if there {
            self.expect(Token::By, name)?;
        }
        Ok(there)
    }

    pub(crate) fn expect(&mut self, token: Token, name: &str) -> Result<(), Error> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected(name)) }
    }

    pub(crate) fn name(&mut self, what: &str) -> Result<&'t str, Error> {
        match self.peek() {
            Some(Token::Name) => Ok(self.advance()),
            Some(token) if token.is_reserved_word() => {
                let word = self.slice(self.next);
                Err(self.syntax(format!(
                    "{what} is expected, and {word} is a reserved word; as a property write [\"{word}\"]"
                )))
            }
            _ => Err(self.unexpected(what)),
        }
    }

    pub(crate) fn unexpected(&self, wanted: &str) -> Error {
        match self.peek() {
            Some(_) => self.syntax(format!("{wanted} is expected here, not {}", self.slice(self.next))),
            None => self.syntax(format!("{wanted} is expected, but the query ends")),
        }
    }

    pub(crate) fn syntax(&self, reason: impl Into<String>) -> Error {
        self.syntax_at(self.next, reason)
    }

    pub(crate) fn syntax_at(&self, index: usize, reason: impl Into<String>) -> Error {
        Error::Syntax { place: self.place(index), reason: reason.into() }
    }

    pub(crate) fn unsupported(&self, feature: impl Into<String>) -> Error {
        self.unsupported_at(self.next, feature)
    }

    pub(crate) fn unsupported_at(&self, index: usize, feature: impl Into<String>) -> Error {
        Error::Unsupported { place: self.place(index), feature: feature.into() }
    }

    fn place(&self, index: usize) -> Place {
        Place::of(self.text, self.tokens.get(index).map_or(self.text.len(), |spanned| spanned.bytes.start))
    }
}

impl Item {
    /// What the property is called in the result: the alias, else the last name of the path (the document's own for the
    /// document), else `$1`, `$2`, ….
    pub(crate) fn name(&self, index: usize, document: &str) -> String {
        self.alias.as_deref().or(self.expr.last_name(document)).map_or_else(|| format!("${}", index + 1), str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_where_it_stands() {
        let cases = [
            ("", 1, 1, "SELECT is expected, but the query ends"),
            ("SELECT * FROM", 1, 14, "the container's name is expected, but the query ends"),
            ("SELECT *\nFROM c\nWHERE c.a = ", 3, 13, "an expression is expected, but the query ends"),
            (
                "SELECT c.value FROM c",
                1,
                10,
                "a property's name is expected, and value is a reserved word; as a property write [\"value\"]",
            ),
            ("SELECT * FROM c JOIN t IN c.tags", 1, 8, "* is all of one thing; FROM has 2"),
            ("SELECT t FROM c JOIN t IN d.tags", 1, 27, "d is not known here; FROM names c"),
            ("SELECT t FROM c JOIN c IN c.tags", 1, 22, "FROM has two things called c"),
            ("SELECT c FROM t IN c.tags", 1, 8, "c is not known here; FROM names t"),
            ("SELECT t FROM c JOIN c.tags", 1, 23, "IN is expected here, not ."),
            ("SELECT c.a FROM c WHERE EXISTS(SELECT 1", 1, 40, ") after the subquery is expected, but the query ends"),
            ("SELECT * FROM c WHERE d.a = 1", 1, 23, "d is not known here; FROM names c"),
            ("SELECT * FROM c WHERE c.a = 1 c", 1, 31, "the end of the query is expected here, not c"),
            ("SELECT TOP 1.5 * FROM c", 1, 12, "TOP takes a whole number"),
            ("SELECT TOP 1 * FROM c OFFSET 0 LIMIT 1", 1, 23, "OFFSET LIMIT cannot be used together with TOP"),
            ("SELECT * FROM c OFFSET 1", 1, 25, "LIMIT after OFFSET is expected, but the query ends"),
            ("SELECT c.a, c.b.a FROM c", 1, 13, "the result would have two properties \"a\""),
            ("SELECT * FROM c WHERE COUNT(1) > 1", 1, 23, "COUNT cannot be used in WHERE"),
            ("SELECT SUM(COUNT(1)) FROM c", 1, 12, "COUNT cannot be used in SUM"),
            (
                "SELECT c.a, COUNT(1) FROM c GROUP BY c.b",
                1,
                8,
                "c[\"a\"] is neither in GROUP BY nor inside an aggregate",
            ),
            ("SELECT * FROM c GROUP BY c.b", 1, 8, "* is neither in GROUP BY nor inside an aggregate"),
            ("SELECT * FROM c WHERE NOT c.a = 1", 1, 31, "put what NOT negates in parentheses: NOT (…)"),
            ("SELECT * FROM c WHERE ABS() = 1", 1, 23, "ABS takes 1 argument, not 0"),
            ("SELECT * FROM c WHERE CONTAINS(c.a) = 1", 1, 23, "CONTAINS takes 2 to 3 arguments, not 1"),
            ("SELECT * FROM c WHERE é.a.'", 1, 27, "this text literal has no end"),
        ];
        for (text, line, column, reason) in cases {
            let expected = Error::Syntax { place: Place { line, column }, reason: reason.to_owned() };
            assert_eq!(parse(text).expect_err(text), expected, "{text}");
        }
    }

    #[test]
    fn what_the_service_has_and_the_subset_has_not_is_refused_by_name() {
        let cases = [
            ("SELECT 1", 1, "SELECT without FROM"),
            ("SELECT * FROM c, d", 16, "a list in FROM"),
            ("SELECT * FROM t IN c", 20, "iteration (IN) over a container"),
            ("SELECT * FROM (SELECT * FROM c)", 15, "a subquery in place of the container"),
            ("SELECT * FROM c WHERE c.a IN (SELECT VALUE 1)", 31, "a subquery after IN"),
            ("SELECT * FROM c WHERE EXISTS(c.a)", 23, "the function EXISTS"),
            ("SELECT udf.f(c) FROM c", 8, "user-defined functions"),
            ("SELECT * FROM c WHERE c.a & 1 = 1", 27, "the bit operator &"),
            ("SELECT * FROM c WHERE ST_DISTANCE(c.a, c.b) < 1", 23, "the function ST_DISTANCE"),
            ("SELECT COUNT(1) FROM c ORDER BY c.a", 24, "ORDER BY together with aggregates or GROUP BY"),
        ];
        for (text, column, feature) in cases {
            let expected = Error::Unsupported { place: Place { line: 1, column }, feature: feature.to_owned() };
            assert_eq!(parse(text).expect_err(text), expected, "{text}");
        }
    }

    #[test]
    fn a_query_nested_beyond_reason_is_refused_and_not_a_stack_overflow() {
        for (open, close) in [
            ("(", ")"),
            ("- ", ""),
            ("NOT ", ""),
            ("[", "]"),
            ("ABS(", ")"),
            ("1 + (", ")"),
            ("1 ? 1 : ", ""),
            ("(SELECT VALUE ", ")"),
            ("ARRAY(SELECT VALUE 1 FROM (SELECT VALUE ", "))"),
        ] {
            let text = format!("SELECT VALUE {}1{} FROM c", open.repeat(50_000), close.repeat(50_000));
            assert!(matches!(parse(&text), Err(Error::Syntax { .. })), "{open}");
        }
        let sum = format!("SELECT VALUE 1{} FROM c", " + 1".repeat(50_000));
        assert!(matches!(parse(&sum), Err(Error::Syntax { .. })));
    }

    #[test]
    fn hundreds_of_alternatives_are_fine() {
        let text = format!("SELECT * FROM c WHERE c.a = 0{}", " OR c.a = 1".repeat(2_000));
        assert!(parse(&text).is_ok());
    }
}
