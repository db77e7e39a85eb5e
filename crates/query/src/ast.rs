use serde_json::Value;

use crate::Bound;
use crate::aggregate::Aggregate;
use crate::functions::Function;

/// A parsed query. Prints as Cosmos SQL that parses to the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    pub(crate) distinct: bool,
    pub(crate) top: Option<Count>,
    pub(crate) projection: Projection,
    pub(crate) from: From,
    pub(crate) filter: Option<Expr>,
    pub(crate) group_by: Vec<Expr>,
    pub(crate) order_by: Vec<Ordered>,
    /// OFFSET and LIMIT.
    pub(crate) window: Option<(Count, Count)>,
}

/// What a query goes over.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct From {
    /// What the query calls the document, or in `FROM t IN c.tags` the container.
    pub(crate) document: String,
    /// Whether expressions may use that name: not after `FROM t IN c.tags`, and a subquery names no document of its own.
    pub(crate) is_named: bool,
    pub(crate) sources: Vec<Source>,
}

/// One more thing to go over, for each combination of those before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    /// Empty where the query does not give it one.
    pub(crate) name: String,
    pub(crate) of: Expr,
    /// Each element of the array that `of` is, and nothing where it is none; else its value, once.
    pub(crate) is_each: bool,
}

/// What becomes of a subquery's results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subquery {
    /// `(SELECT …)`: the only one; undefined where there is none.
    Value,
    /// `EXISTS(SELECT …)`
    Exists,
    /// `ARRAY(SELECT …)`
    Array,
}

/// One path of ORDER BY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderKey {
    /// Property names from the document's root.
    pub path: Vec<String>,
    pub descending: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Projection {
    /// `*`
    Whole,
    /// `VALUE expr`
    Value(Expr),
    /// `expr AS alias, …`
    List(Vec<Item>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) expr: Expr,
    pub(crate) alias: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ordered {
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
}

/// Of TOP, OFFSET and LIMIT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Literal(u64),
    Parameter(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Undefined,
    Literal(Value),
    Parameter(String),
    /// The document itself.
    Root,
    /// What a source of FROM gives.
    Variable(String),
    /// Never empty, and never on another path: those are one.
    Path(Box<Expr>, Vec<Step>),
    Not(Box<Expr>),
    /// Unary plus: a number stays, anything else is undefined.
    Plus(Box<Expr>),
    Minus(Box<Expr>),
    /// AND and OR hold all their operands, because a filter may name hundreds and a deep tree would cost stack.
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    Like {
        text: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<char>,
    },
    /// Condition, then, else.
    Conditional(Box<[Expr; 3]>),
    Call(Function, Vec<Expr>),
    Array(Vec<Expr>),
    Object(Vec<(String, Expr)>),
    Aggregate(Aggregate, Box<Expr>),
    Subquery(Subquery, Box<Select>),
    /// Of a bound query only: a subquery that is bound too.
    Nested(Subquery, Box<Bound>),
    /// Of a bound query only: the value of a GROUP BY expression.
    GroupKey(usize),
    /// Of a bound query only: the result of an aggregate.
    Aggregated(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Name(String),
    Index(usize),
    Parameter(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Concat,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Coalesce,
}

impl Expr {
    /// The names of a path of properties from the document's root.
    pub(crate) fn property_path(&self) -> Option<Vec<&str>> {
        let Self::Path(base, steps) = self else { return None };
        if **base != Self::Root {
            return None;
        }
        steps
            .iter()
            .map(|step| match step {
                Step::Name(name) => Some(name.as_str()),
                Step::Index(_) | Step::Parameter(_) => None,
            })
            .collect()
    }

    /// What the result of a path of properties is called, or of a name alone.
    pub(crate) fn last_name<'e>(&'e self, document: &'e str) -> Option<&'e str> {
        match self {
            Self::Root => Some(document),
            Self::Variable(name) => Some(name),
            Self::Path(base, steps) if base.is_name() => match steps.last() {
                Some(Step::Name(name)) if !steps.iter().any(|step| !matches!(step, Step::Name(_))) => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    /// A path is never on another path, and no steps are none.
    pub(crate) fn of_path(base: Self, mut steps: Vec<Step>) -> Self {
        match base {
            base if steps.is_empty() => base,
            Self::Path(base, mut before) => {
                before.append(&mut steps);
                Self::Path(base, before)
            }
            base => Self::Path(Box::new(base), steps),
        }
    }

    /// Whether it is what FROM names.
    pub(crate) fn is_name(&self) -> bool {
        matches!(self, Self::Root | Self::Variable(_))
    }

    /// The expressions directly inside. What a subquery has inside is its own.
    pub(crate) fn children(&self) -> Vec<&Self> {
        match self {
            Self::Undefined | Self::Literal(_) | Self::Parameter(_) | Self::Root | Self::Variable(_) => Vec::new(),
            Self::GroupKey(_) | Self::Aggregated(_) | Self::Subquery(..) | Self::Nested(..) => Vec::new(),
            Self::Path(inner, _) | Self::Not(inner) | Self::Plus(inner) | Self::Minus(inner) => vec![inner],
            Self::Aggregate(_, inner) => vec![inner],
            Self::All(inner) | Self::Any(inner) | Self::Call(_, inner) | Self::Array(inner) => inner.iter().collect(),
            Self::Binary(_, a, b) => vec![a, b],
            Self::In(needle, haystack) => std::iter::once(&**needle).chain(haystack).collect(),
            Self::Like { text, pattern, .. } => vec![text, pattern],
            Self::Conditional(parts) => parts.iter().collect(),
            Self::Object(properties) => properties.iter().map(|(_, value)| value).collect(),
        }
    }

    /// The same with each expression directly inside replaced by what `change` makes of it.
    pub(crate) fn map_children<E>(&self, change: &mut impl FnMut(&Self) -> Result<Self, E>) -> Result<Self, E> {
        let mut boxed = |inner: &Self| change(inner).map(Box::new);
        Ok(match self {
            Self::Undefined | Self::Literal(_) | Self::Parameter(_) | Self::Root | Self::Variable(_) => self.clone(),
            Self::GroupKey(_) | Self::Aggregated(_) | Self::Subquery(..) | Self::Nested(..) => self.clone(),
            Self::Path(inner, steps) => Self::Path(boxed(inner)?, steps.clone()),
            Self::Not(inner) => Self::Not(boxed(inner)?),
            Self::Plus(inner) => Self::Plus(boxed(inner)?),
            Self::Minus(inner) => Self::Minus(boxed(inner)?),
            Self::Aggregate(kind, inner) => Self::Aggregate(*kind, boxed(inner)?),
            Self::Binary(operator, a, b) => Self::Binary(*operator, boxed(a)?, boxed(b)?),
            Self::Like { text, pattern, escape } => {
                Self::Like { text: boxed(text)?, pattern: boxed(pattern)?, escape: *escape }
            }
            Self::All(inner) => Self::All(inner.iter().map(change).collect::<Result<_, E>>()?),
            Self::Any(inner) => Self::Any(inner.iter().map(change).collect::<Result<_, E>>()?),
            Self::Call(function, inner) => Self::Call(*function, inner.iter().map(change).collect::<Result<_, E>>()?),
            Self::Array(inner) => Self::Array(inner.iter().map(change).collect::<Result<_, E>>()?),
            Self::In(needle, haystack) => {
                Self::In(boxed(needle)?, haystack.iter().map(change).collect::<Result<_, E>>()?)
            }
            Self::Conditional(parts) => {
                let [condition, then, otherwise] = &**parts;
                Self::Conditional(Box::new([change(condition)?, change(then)?, change(otherwise)?]))
            }
            Self::Object(properties) => {
                let property = |(name, value): &(String, Self)| Ok((name.clone(), change(value)?));
                Self::Object(properties.iter().map(property).collect::<Result<_, E>>()?)
            }
        })
    }
}
