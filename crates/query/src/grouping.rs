use std::convert::Infallible;

use crate::aggregate::Aggregate;
use crate::ast::{Expr, Item, Projection, Select};

/// How results come from groups: the projection in terms of group keys and aggregates, and what to aggregate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grouping {
    pub(crate) projection: Projection,
    pub(crate) aggregates: Vec<(Aggregate, Expr)>,
}

pub(crate) fn is_grouped(select: &Select) -> bool {
    let aggregates = match &select.projection {
        Projection::Whole => false,
        Projection::Value(expr) => has_aggregate(expr),
        Projection::List(items) => items.iter().any(|item| has_aggregate(&item.expr)),
    };
    aggregates || !select.group_by.is_empty()
}

fn has_aggregate(expr: &Expr) -> bool {
    matches!(expr, Expr::Aggregate(..)) || expr.children().into_iter().any(has_aggregate)
}

/// `None` when nothing is grouped. Fails, with the item's index, on a document's property that no group has one value of.
pub(crate) fn plan(
    projection: &Projection,
    group_by: &[Expr],
    document: &str,
) -> Result<Option<Grouping>, (usize, String)> {
    let mut aggregates = Vec::new();
    let grouped = match projection {
        Projection::Whole if group_by.is_empty() => return Ok(None),
        Projection::Whole => return Err((0, not_grouped("*"))),
        Projection::Value(expr) => Projection::Value(rewrite(expr, group_by, &mut aggregates)),
        Projection::List(items) => Projection::List(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| Item {
                    expr: rewrite(&item.expr, group_by, &mut aggregates),
                    alias: Some(item.name(index, document)),
                })
                .collect(),
        ),
    };
    if aggregates.is_empty() && group_by.is_empty() {
        return Ok(None);
    }
    let exprs: Vec<&Expr> = match &grouped {
        Projection::Whole => Vec::new(),
        Projection::Value(expr) => vec![expr],
        Projection::List(items) => items.iter().map(|item| &item.expr).collect(),
    };
    match exprs.into_iter().enumerate().find_map(|(index, expr)| Some((index, loose_property(expr)?))) {
        Some((index, property)) => Err((index, not_grouped(&property.to_string()))),
        None => Ok(Some(Grouping { projection: grouped, aggregates })),
    }
}

fn not_grouped(what: &str) -> String {
    format!("{what} is neither in GROUP BY nor inside an aggregate")
}

fn rewrite(expr: &Expr, group_by: &[Expr], aggregates: &mut Vec<(Aggregate, Expr)>) -> Expr {
    if let Some(key) = group_by.iter().position(|key| key == expr) {
        return Expr::GroupKey(key);
    }
    if let Expr::Aggregate(kind, argument) = expr {
        aggregates.push((*kind, (**argument).clone()));
        return Expr::Aggregated(aggregates.len() - 1);
    }
    let Ok(rewritten) = expr.map_children(&mut |inner| Ok::<_, Infallible>(rewrite(inner, group_by, aggregates)));
    rewritten
}

/// The outermost thing that still asks for a document.
fn loose_property(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Root | Expr::Variable(_) | Expr::Subquery(..) | Expr::Nested(..) => Some(expr),
        Expr::Path(base, _) if base.is_name() => Some(expr),
        _ => expr.children().into_iter().find_map(loose_property),
    }
}

#[cfg(test)]
mod tests {
    use crate::bound::tests::results;

    const DOCUMENTS: [&str; 5] = [
        r#"{"type":"like","n":1}"#,
        r#"{"type":"wow","n":2}"#,
        r#"{"type":"like","n":3}"#,
        r#"{"n":4}"#,
        r#"{"type":1,"n":5}"#,
    ];

    #[test]
    fn each_distinct_key_is_a_group_and_undefined_is_one_too() {
        assert_eq!(
            results("SELECT c.type, COUNT(1) AS n FROM c GROUP BY c.type", &DOCUMENTS),
            [r#"{"n":1}"#, r#"{"type":1,"n":1}"#, r#"{"type":"like","n":2}"#, r#"{"type":"wow","n":1}"#]
        );
    }

    #[test]
    fn groups_may_be_made_by_expressions_and_used_inside_others() {
        assert_eq!(
            results("SELECT VALUE {even: c.n % 2 = 0, sum: SUM(c.n) + 1} FROM c GROUP BY c.n % 2 = 0", &DOCUMENTS),
            [r#"{"even":false,"sum":10}"#, r#"{"even":true,"sum":7}"#]
        );
        assert_eq!(results("SELECT VALUE UPPER(c.type) FROM c GROUP BY c.type", &DOCUMENTS), [r#""LIKE""#, r#""WOW""#]);
    }

    #[test]
    fn no_documents_are_no_groups_but_one_total() {
        assert_eq!(results("SELECT c.a, COUNT(1) FROM c GROUP BY c.a", &[]), [""; 0]);
        assert_eq!(results("SELECT COUNT(1) FROM c", &[]), [r#"{"$1":0}"#]);
        assert_eq!(results("SELECT COUNT(1) AS n, MAX(c.a) AS m FROM c", &[]), [r#"{"n":0}"#]);
    }
}
