use serde_json::Value;

use crate::Error;
use crate::aggregate::Aggregate;
use crate::ast::{Expr, Operator, Step, Subquery};
use crate::functions::Function;
use crate::parser::Parser;
use crate::token::{Token, unescape};

/// Expressions inside expressions. Parsing, evaluating and dropping recurse, and a query comes from outside.
const DEPTH_MAX: usize = 64;
/// Operators that lean on their left neighbour (`a + b + c` has one more than it needs), over the whole query: they too
/// deepen the tree. AND and OR do not count.
const LINKS_MAX: usize = 256;

/// Whether COUNT and its kin may stand here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aggregates {
    Allowed,
    NotIn(&'static str),
}

/// Binary operators below AND, loosest first.
const LEVELS: [&[(Token, Operator)]; 4] = [
    &[
        (Token::Equal, Operator::Equal),
        (Token::NotEqual, Operator::NotEqual),
        (Token::Less, Operator::Less),
        (Token::LessOrEqual, Operator::LessOrEqual),
        (Token::Greater, Operator::Greater),
        (Token::GreaterOrEqual, Operator::GreaterOrEqual),
    ],
    &[(Token::Concat, Operator::Concat)],
    &[(Token::Plus, Operator::Add), (Token::Minus, Operator::Subtract)],
    &[(Token::Star, Operator::Multiply), (Token::Slash, Operator::Divide), (Token::Percent, Operator::Remainder)],
];
const COMPARISON: usize = 0;
const CONCAT: usize = 1;

impl Parser<'_> {
    pub(crate) fn expression(&mut self) -> Result<Expr, Error> {
        self.nested(Self::conditional)
    }

    fn nested(&mut self, inside: impl FnOnce(&mut Self) -> Result<Expr, Error>) -> Result<Expr, Error> {
        if self.depth == DEPTH_MAX {
            return Err(self.syntax(format!("expressions may be nested {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let expr = inside(self)?;
        self.depth -= 1;
        Ok(expr)
    }

    fn link(&mut self) -> Result<(), Error> {
        if self.links == LINKS_MAX {
            return Err(self.syntax(format!("a query may chain {LINKS_MAX} operators")));
        }
        self.links += 1;
        Ok(())
    }

    /// `a ? b : c`
    fn conditional(&mut self) -> Result<Expr, Error> {
        let condition = self.coalesce()?;
        if !self.take(Token::Question) {
            return Ok(condition);
        }
        let then = self.expression()?;
        self.expect(Token::Colon, "the : of a conditional")?;
        let otherwise = self.expression()?;
        Ok(Expr::Conditional(Box::new([condition, then, otherwise])))
    }

    fn coalesce(&mut self) -> Result<Expr, Error> {
        let mut left = self.any()?;
        while self.take(Token::Coalesce) {
            self.link()?;
            left = Expr::Binary(Operator::Coalesce, Box::new(left), Box::new(self.any()?));
        }
        Ok(left)
    }

    fn any(&mut self) -> Result<Expr, Error> {
        let first = self.all()?;
        if self.peek() != Some(Token::Or) {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.take(Token::Or) {
            operands.push(self.all()?);
        }
        Ok(Expr::Any(operands))
    }

    fn all(&mut self) -> Result<Expr, Error> {
        let first = self.predicate()?;
        if self.peek() != Some(Token::And) {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.take(Token::And) {
            operands.push(self.predicate()?);
        }
        Ok(Expr::All(operands))
    }

    /// A comparison, IN, BETWEEN or LIKE.
    fn predicate(&mut self) -> Result<Expr, Error> {
        let subject = self.binary(COMPARISON)?;
        let at = self.position();
        let negated = self.take(Token::Not);
        let predicate = match self.peek() {
            Some(Token::In) => self.is_in(subject)?,
            Some(Token::Between) => self.between(subject)?,
            Some(Token::Like) => self.like(subject)?,
            _ if negated => return Err(self.unexpected("IN, BETWEEN or LIKE")),
            _ => return Ok(subject),
        };
        if matches!(self.peek(), Some(Token::In | Token::Between | Token::Like | Token::Not)) {
            return Err(self.syntax_at(at, "predicates do not chain: put this one in parentheses"));
        }
        Ok(if negated { Expr::Not(Box::new(predicate)) } else { predicate })
    }

    fn is_in(&mut self, needle: Expr) -> Result<Expr, Error> {
        self.advance();
        self.expect(Token::OpenParen, "( after IN")?;
        if self.peek() == Some(Token::Select) {
            return Err(self.unsupported("a subquery after IN"));
        }
        let haystack = self.list(Self::expression)?;
        self.expect(Token::CloseParen, ") after the values of IN")?;
        Ok(Expr::In(Box::new(needle), haystack))
    }

    fn between(&mut self, subject: Expr) -> Result<Expr, Error> {
        self.advance();
        let low = self.binary(CONCAT)?;
        self.expect(Token::And, "AND between the bounds of BETWEEN")?;
        let high = self.binary(CONCAT)?;
        let from = Expr::Binary(Operator::GreaterOrEqual, Box::new(subject.clone()), Box::new(low));
        let to = Expr::Binary(Operator::LessOrEqual, Box::new(subject), Box::new(high));
        Ok(Expr::All(vec![from, to]))
    }

    fn like(&mut self, text: Expr) -> Result<Expr, Error> {
        self.advance();
        let pattern = self.binary(CONCAT)?;
        let escape = if self.take(Token::Escape) { Some(self.escape()?) } else { None };
        Ok(Expr::Like { text: Box::new(text), pattern: Box::new(pattern), escape })
    }

    fn escape(&mut self) -> Result<char, Error> {
        let at = self.position();
        if self.peek() == Some(Token::Text) {
            let text = self.text()?;
            let mut characters = text.chars();
            if let (Some(one), None) = (characters.next(), characters.next()) {
                return Ok(one);
            }
        }
        Err(self.syntax_at(at, "ESCAPE takes a text of one character"))
    }

    fn binary(&mut self, level: usize) -> Result<Expr, Error> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        let mut first = true;
        while let Some(&(_, operator)) = operators.iter().find(|&&(token, _)| self.peek() == Some(token)) {
            if !first {
                self.link()?;
            }
            first = false;
            self.advance();
            left = Expr::Binary(operator, Box::new(left), Box::new(self.binary(level + 1)?));
        }
        if self.peek() == Some(Token::BitOperator) {
            let at = self.position();
            let operator = self.advance();
            return Err(self.unsupported_at(at, format!("the bit operator {operator}")));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, Error> {
        match self.peek() {
            Some(Token::Not) => {
                self.advance();
                let operand = self.nested(Self::unary)?;
                // SQL would negate the comparison; the service's grammar has NOT bind tighter. Refusing keeps one query
                // from having two answers.
                let tighter =
                    LEVELS.iter().flat_map(|level| level.iter()).any(|&(token, _)| self.peek() == Some(token));
                if tighter || matches!(self.peek(), Some(Token::In | Token::Between | Token::Like | Token::Not)) {
                    return Err(self.syntax("put what NOT negates in parentheses: NOT (…)"));
                }
                Ok(Expr::Not(Box::new(operand)))
            }
            Some(Token::Plus) => {
                self.advance();
                Ok(Expr::Plus(Box::new(self.nested(Self::unary)?)))
            }
            Some(Token::Minus) => {
                self.advance();
                let at = self.position();
                match self.nested(Self::unary)? {
                    Expr::Literal(Value::Number(number)) => self.negated(at, &number),
                    operand => Ok(Expr::Minus(Box::new(operand))),
                }
            }
            _ => self.postfix(),
        }
    }

    fn negated(&self, at: usize, number: &serde_json::Number) -> Result<Expr, Error> {
        match number.as_i64().and_then(i64::checked_neg) {
            Some(negative) => Ok(Expr::Literal(negative.into())),
            None => number
                .as_f64()
                .and_then(|value| serde_json::Number::from_f64(-value))
                .map(|negative| Expr::Literal(Value::Number(negative)))
                .ok_or_else(|| self.syntax_at(at, "this number is out of range")),
        }
    }

    /// A primary expression with the path that follows it.
    fn postfix(&mut self) -> Result<Expr, Error> {
        let base = self.primary()?;
        Ok(Expr::of_path(base, self.steps()?))
    }

    pub(crate) fn steps(&mut self) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        loop {
            if self.take(Token::Dot) {
                steps.push(Step::Name(self.name("a property's name")?.to_owned()));
            } else if self.take(Token::OpenBracket) {
                steps.push(self.step()?);
                self.expect(Token::CloseBracket, "]")?;
            } else {
                return Ok(steps);
            }
        }
    }

    fn step(&mut self) -> Result<Step, Error> {
        match self.peek() {
            Some(Token::Text) => self.text().map(Step::Name),
            Some(Token::Parameter) => Ok(Step::Parameter(self.advance().to_owned())),
            Some(Token::Number) => {
                let at = self.position();
                let index = self.advance().parse();
                index.map(Step::Index).map_err(|_| self.syntax_at(at, "an index is a whole number"))
            }
            _ => Err(self.unsupported("an index that is no text, whole number or parameter")),
        }
    }

    fn primary(&mut self) -> Result<Expr, Error> {
        match self.peek() {
            Some(Token::True) => self.literal(true),
            Some(Token::False) => self.literal(false),
            Some(Token::Null) => self.literal(Value::Null),
            Some(Token::Undefined) => {
                self.advance();
                Ok(Expr::Undefined)
            }
            Some(Token::Number) => {
                let at = self.position();
                // JSON forbids leading zeros, the service does not mind them.
                let digits = self.advance();
                let trimmed = digits.trim_start_matches('0');
                let whole = if trimmed.starts_with(|first: char| first.is_ascii_digit()) {
                    trimmed
                } else {
                    &digits[digits.len() - trimmed.len() - 1..]
                };
                serde_json::from_str(whole)
                    .map(Expr::Literal)
                    .map_err(|_| self.syntax_at(at, "this number is out of range"))
            }
            Some(Token::Text) => self.text().map(|text| Expr::Literal(text.into())),
            Some(Token::Parameter) => Ok(Expr::Parameter(self.advance().to_owned())),
            Some(Token::OpenParen) => {
                self.advance();
                if self.peek() == Some(Token::Select) {
                    return self.subquery(Subquery::Value);
                }
                let inner = self.expression()?;
                self.expect(Token::CloseParen, ")")?;
                Ok(inner)
            }
            Some(Token::OpenBracket) => {
                self.advance();
                self.list_until(Token::CloseBracket, "]", Self::expression).map(Expr::Array)
            }
            Some(Token::OpenBrace) => {
                self.advance();
                self.list_until(Token::CloseBrace, "}", Self::property).map(Expr::Object)
            }
            Some(Token::Name) if self.peek_second() == Some(Token::OpenParen) => self.call(),
            Some(Token::Name) => self.named(),
            _ => Err(self.unexpected("an expression")),
        }
    }

    fn literal(&mut self, value: impl Into<Value>) -> Result<Expr, Error> {
        self.advance();
        Ok(Expr::Literal(value.into()))
    }

    fn text(&mut self) -> Result<String, Error> {
        let at = self.position();
        unescape(self.advance()).map_err(|reason| self.syntax_at(at, reason))
    }

    fn property(&mut self) -> Result<(String, Expr), Error> {
        let name = match self.peek() {
            Some(Token::Text) => self.text()?,
            _ => self.name("a property's name")?.to_owned(),
        };
        self.expect(Token::Colon, ": after a property's name")?;
        Ok((name, self.expression()?))
    }

    /// What FROM, or a FROM around it, calls so.
    pub(crate) fn named(&mut self) -> Result<Expr, Error> {
        let at = self.position();
        let name = self.name("a name of FROM")?;
        if let Some((_, meaning)) = self.names.iter().rev().find(|(known, _)| known == name) {
            return Ok(meaning.clone());
        }
        if name.eq_ignore_ascii_case("udf") {
            return Err(self.unsupported_at(at, "user-defined functions"));
        }
        let known = self.names.iter().map(|(known, _)| known.as_str()).filter(|known| !known.is_empty());
        let known = known.collect::<Vec<_>>().join(", ");
        Err(self.syntax_at(at, format!("{name} is not known here; FROM names {known}")))
    }

    /// Up to its closing parenthesis.
    pub(crate) fn subquery(&mut self, kind: Subquery) -> Result<Expr, Error> {
        self.nested(|parser| {
            let outside = std::mem::replace(&mut parser.aggregates, Aggregates::Allowed);
            let select = parser.select()?;
            parser.aggregates = outside;
            parser.expect(Token::CloseParen, ") after the subquery")?;
            Ok(Expr::Subquery(kind, Box::new(select)))
        })
    }

    fn call(&mut self) -> Result<Expr, Error> {
        let at = self.position();
        let name = self.advance().to_uppercase();
        self.advance();
        if self.peek() == Some(Token::Select) {
            match name.as_str() {
                "EXISTS" => return self.subquery(Subquery::Exists),
                "ARRAY" => return self.subquery(Subquery::Array),
                _ => {}
            }
        }
        if let Some(aggregate) = Aggregate::named(&name) {
            return self.aggregate(at, aggregate);
        }
        let Some((function, arity)) = Function::named(&name) else {
            return Err(self.unsupported_at(at, format!("the function {name}")));
        };
        let arguments = self.list_until(Token::CloseParen, ")", Self::expression)?;
        if !arity.contains(&arguments.len()) {
            let (low, high) = (*arity.start(), *arity.end());
            let takes = match (low, high) {
                (1, 1) => "1 argument".to_owned(),
                (low, usize::MAX) => format!("at least {low} arguments"),
                (low, high) if low == high => format!("{low} arguments"),
                (low, high) => format!("{low} to {high} arguments"),
            };
            return Err(self.syntax_at(at, format!("{name} takes {takes}, not {}", arguments.len())));
        }
        Ok(Expr::Call(function, arguments))
    }

    fn aggregate(&mut self, at: usize, aggregate: Aggregate) -> Result<Expr, Error> {
        if let Aggregates::NotIn(place) = self.aggregates {
            return Err(self.syntax_at(at, format!("{} cannot be used in {place}", aggregate.name())));
        }
        let outside = std::mem::replace(&mut self.aggregates, Aggregates::NotIn(aggregate.name()));
        let argument = self.expression()?;
        self.aggregates = outside;
        self.expect(Token::CloseParen, ")")?;
        Ok(Expr::Aggregate(aggregate, Box::new(argument)))
    }
}
