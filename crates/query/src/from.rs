use crate::Error;
use crate::ast::{Expr, From, Source, Subquery};
use crate::parser::Parser;
use crate::token::Token;

/// The service's own limit.
const JOINS_MAX: usize = 10;

impl<'t> Parser<'t> {
    /// What follows FROM. What it names is known from here on.
    pub(crate) fn from(&mut self) -> Result<From, Error> {
        let before = self.names.len();
        let mut from = match self.container {
            Some(document) => {
                let first = self.inner_source(before)?;
                From { document: document.to_owned(), is_named: false, sources: vec![first] }
            }
            None => self.container()?,
        };
        let mut joins = 0;
        while self.take(Token::Join) {
            joins += 1;
            if joins > JOINS_MAX {
                return Err(self.syntax_at(self.position() - 1, format!("a query may have {JOINS_MAX} JOINs")));
            }
            let source = if self.peek() == Some(Token::OpenParen) { self.derived(before)? } else { self.each(before)? };
            from.sources.push(source);
        }
        match self.peek() {
            Some(Token::In) => Err(self.unsupported("IN after a path in FROM")),
            Some(Token::Comma) => Err(self.unsupported("a list in FROM")),
            _ => Ok(from),
        }
    }

    /// `c`, `container c`, `c.tags`, `t IN c.tags`.
    fn container(&mut self) -> Result<From, Error> {
        if self.peek() == Some(Token::OpenParen) {
            return Err(self.unsupported("a subquery in place of the container"));
        }
        let first = self.name("the container's name")?;
        if self.take(Token::In) {
            let at = self.position();
            let container = self.name("the container's name")?;
            let steps = self.steps()?;
            if steps.is_empty() {
                return Err(self.unsupported_at(at, "iteration (IN) over a container"));
            }
            self.container = Some(container);
            self.know(at, 0, first)?;
            let source = Source { name: first.to_owned(), of: Expr::of_path(Expr::Root, steps), is_each: true };
            return Ok(From { document: container.to_owned(), is_named: false, sources: vec![source] });
        }
        let steps = self.steps()?;
        let alias = self.alias()?;
        if steps.is_empty() {
            let name = alias.unwrap_or(first);
            self.container = Some(name);
            self.names.push((name.to_owned(), Expr::Root));
            return Ok(From { document: name.to_owned(), is_named: true, sources: Vec::new() });
        }
        self.container = Some(first);
        let source = self.whole(Expr::of_path(Expr::Root, steps), alias);
        Ok(From { document: first.to_owned(), is_named: false, sources: vec![source] })
    }

    /// The first of a subquery's own.
    fn inner_source(&mut self, before: usize) -> Result<Source, Error> {
        if self.peek() == Some(Token::OpenParen) {
            return self.derived(before);
        }
        if self.peek_second() == Some(Token::In) {
            return self.each(before);
        }
        let of = self.named_path()?;
        let alias = self.alias()?;
        Ok(self.whole(of, alias))
    }

    /// `t IN c.tags`, `t IN (SELECT …)`.
    fn each(&mut self, before: usize) -> Result<Source, Error> {
        let at = self.position();
        let name = self.name("a name for the elements")?;
        self.expect(Token::In, "IN")?;
        let of = if self.take(Token::OpenParen) { self.subquery(Subquery::Array)? } else { self.named_path()? };
        self.know(at, before, name)?;
        Ok(Source { name: name.to_owned(), of, is_each: true })
    }

    /// `(SELECT …) AS t`
    fn derived(&mut self, before: usize) -> Result<Source, Error> {
        self.expect(Token::OpenParen, "(")?;
        let of = self.subquery(Subquery::Array)?;
        let at = self.position();
        let name = self.alias()?.unwrap_or_default();
        self.know(at, before, name)?;
        Ok(Source { name: name.to_owned(), of, is_each: true })
    }

    /// Called by its last name where it is not given another.
    fn whole(&mut self, of: Expr, alias: Option<&str>) -> Source {
        let name = alias.or(of.last_name("")).unwrap_or_default().to_owned();
        self.names.push((name.clone(), Expr::Variable(name.clone())));
        Source { name, of, is_each: false }
    }

    fn named_path(&mut self) -> Result<Expr, Error> {
        let base = self.named()?;
        Ok(Expr::of_path(base, self.steps()?))
    }

    /// `before`: how many names are known from outside; these may be taken again.
    fn know(&mut self, at: usize, before: usize, name: &str) -> Result<(), Error> {
        if !name.is_empty() && self.names.iter().skip(before).any(|(known, _)| known == name) {
            return Err(self.syntax_at(at, format!("FROM has two things called {name}")));
        }
        self.names.push((name.to_owned(), Expr::Variable(name.to_owned())));
        Ok(())
    }

    fn alias(&mut self) -> Result<Option<&'t str>, Error> {
        let is_there = self.take(Token::As) || self.peek() == Some(Token::Name);
        is_there.then(|| self.name("a name after AS")).transpose()
    }
}
