use std::ops::ControlFlow;

use crate::ast::Source;
use crate::eval::{Named, Scope, eval};

/// Visits each combination of what `sources` give, with their names known, the last source going fastest.
pub(crate) fn expand<'v>(
    sources: &'v [Source],
    scope: &Scope<'v>,
    visit: &mut dyn FnMut(&Scope<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let (Some((source, rest)), Scope::Document { row, names }) = (sources.split_first(), *scope) else {
        return visit(scope);
    };
    let Some(value) = eval(&source.of, scope) else { return ControlFlow::Continue(()) };
    let found =
        if source.is_each { value.as_array().map_or(&[][..], Vec::as_slice) } else { std::slice::from_ref(&*value) };
    for value in found {
        if !row.combine() {
            return ControlFlow::Break(());
        }
        let named = Named { name: &source.name, value, outer: names };
        expand(rest, &Scope::Document { row, names: Some(&named) }, visit)?;
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use crate::bound::tests::results;
    use crate::{Error, parse};

    const PERSON: &str =
        r#"{"id":"1","tags":["a","b"],"pets":[{"name":"Rex","toys":["ball","bone"]},{"name":"Tom"}],"n":3}"#;

    fn check(cases: &[(&str, &str)]) {
        for (query, expected) in cases {
            assert_eq!(results(query, &[PERSON, r#"{"id":"2","tags":"none"}"#]).join(" "), *expected, "{query}");
        }
    }

    #[test]
    fn a_join_gives_each_combination_and_nothing_for_what_is_no_array() {
        check(&[
            ("SELECT VALUE t FROM c JOIN t IN c.tags", r#""a" "b""#),
            ("SELECT c.id, t FROM c JOIN t IN c.tags", r#"{"id":"1","t":"a"} {"id":"1","t":"b"}"#),
            (
                "SELECT VALUE CONCAT(p.name, t) FROM c JOIN p IN c.pets JOIN t IN c.tags",
                r#""Rexa" "Rexb" "Toma" "Tomb""#,
            ),
            ("SELECT VALUE t FROM c JOIN p IN c.pets JOIN t IN p.toys", r#""ball" "bone""#),
            (
                "SELECT p.name, t AS toy FROM c JOIN p IN c.pets JOIN t IN p.toys WHERE t = 'bone'",
                r#"{"name":"Rex","toy":"bone"}"#,
            ),
            ("SELECT VALUE c.n FROM c JOIN t IN c.no", ""),
            ("SELECT VALUE COUNT(1) FROM c JOIN t IN c.tags JOIN p IN c.pets", "4"),
            (
                "SELECT t, COUNT(1) AS n FROM c JOIN t IN c.tags JOIN p IN c.pets GROUP BY t",
                r#"{"t":"a","n":2} {"t":"b","n":2}"#,
            ),
            ("SELECT VALUE t FROM c JOIN t IN c.tags ORDER BY t DESC", r#""b" "a""#),
            ("SELECT VALUE t FROM c JOIN t IN c.tags OFFSET 1 LIMIT 1", r#""b""#),
            ("SELECT DISTINCT VALUE c.id FROM c JOIN t IN c.tags", r#""1""#),
            ("SELECT VALUE t FROM c JOIN t IN (SELECT VALUE t FROM t IN c.tags WHERE t != 'a')", r#""b""#),
            ("SELECT VALUE t.x FROM c JOIN (SELECT t AS x FROM t IN c.tags) AS t", r#""a" "b""#),
            ("SELECT VALUE c.id FROM c JOIN (SELECT VALUE 1)", r#""1" "2""#),
        ]);
    }

    #[test]
    fn a_part_of_the_document_stands_for_it() {
        check(&[
            ("SELECT * FROM t IN c.tags", r#""a" "b""#),
            ("SELECT t FROM t IN c.tags", r#"{"t":"a"} {"t":"b"}"#),
            ("SELECT p.name FROM p IN c.pets JOIN t IN p.toys", r#"{"name":"Rex"} {"name":"Rex"}"#),
            ("SELECT * FROM c.tags", r#"["a","b"] "none""#),
            ("SELECT tags FROM c.tags", r#"{"tags":["a","b"]} {"tags":"none"}"#),
            ("SELECT VALUE p.name FROM c.pets[0] AS p", r#""Rex""#),
            ("SELECT * FROM c.no", ""),
        ]);
    }

    #[test]
    fn subqueries_see_what_is_around_them() {
        check(&[
            ("SELECT VALUE (SELECT VALUE COUNT(1) FROM t IN c.tags) FROM c", "2 0"),
            (
                "SELECT c.id, (SELECT COUNT(1) AS a, MIN(t) AS b FROM t IN c.tags) AS tags FROM c WHERE c.n = 3",
                r#"{"id":"1","tags":{"a":2,"b":"a"}}"#,
            ),
            ("SELECT VALUE ARRAY(SELECT VALUE p.name FROM p IN c.pets) FROM c", r#"["Rex","Tom"] []"#),
            (
                "SELECT VALUE ARRAY(SELECT VALUE CONCAT(p.name, t) FROM t IN c.tags) FROM c JOIN p IN c.pets",
                r#"["Rexa","Rexb"] ["Toma","Tomb"]"#,
            ),
            ("SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE t FROM t IN c.tags WHERE t = 'b')", r#""1""#),
            ("SELECT VALUE c.id FROM c WHERE NOT EXISTS(SELECT VALUE p FROM p IN c.pets)", r#""2""#),
            (
                "SELECT VALUE p.name FROM c JOIN p IN c.pets WHERE EXISTS(SELECT VALUE t FROM t IN p.toys WHERE t = 'ball')",
                r#""Rex""#,
            ),
            ("SELECT VALUE ARRAY(SELECT DISTINCT VALUE LENGTH(t) FROM t IN c.tags) FROM c WHERE c.id = '1'", "[1]"),
            ("SELECT VALUE ARRAY(SELECT TOP 1 VALUE t FROM t IN c.tags ORDER BY t DESC) FROM c", r#"["b"] []"#),
            ("SELECT VALUE (SELECT VALUE c.n + 1) FROM c", "4"),
            ("SELECT VALUE (SELECT VALUE c FROM c IN c.tags WHERE c = 'b') FROM c", r#""b""#),
            ("SELECT VALUE (SELECT VALUE x.n FROM c AS x) FROM c", "3"),
            ("SELECT VALUE ARRAY(SELECT * FROM t IN c.tags) FROM c", r#"["a","b"] []"#),
            (
                "SELECT VALUE ARRAY(SELECT VALUE (SELECT VALUE COUNT(1) FROM t IN p.toys) FROM p IN c.pets) FROM c",
                "[2,0] []",
            ),
            (
                "SELECT VALUE {n: (SELECT VALUE SUM(p.toys[0] = 'ball' ? 1 : 0) FROM p IN c.pets)} FROM c WHERE c.id = '1'",
                r#"{"n":1}"#,
            ),
        ]);
    }

    #[test]
    fn what_has_no_answer_is_an_error_and_not_a_wrong_one() {
        let judged = |text: &str, document: &str| {
            let query = parse(text).unwrap().bind([]).unwrap();
            let row = query.row(document.as_bytes()).unwrap();
            query.accumulator().push(&row);
            row.judge()
        };
        assert!(matches!(
            judged("SELECT VALUE (SELECT VALUE t FROM t IN c.tags) FROM c", PERSON),
            Err(Error::Unanswerable { .. })
        ));
        assert_eq!(judged("SELECT VALUE (SELECT VALUE t FROM t IN c.tags WHERE t = 'a') FROM c", PERSON), Ok(()));
        let many = format!(r#"{{"a":[{}0]}}"#, "0,".repeat(200));
        let joined = "SELECT VALUE 1 FROM c JOIN a IN c.a JOIN b IN c.a WHERE false";
        assert_eq!(judged(joined, &many), Ok(()));
        assert!(matches!(
            judged(&joined.replace(" WHERE", " JOIN d IN c.a WHERE"), &many),
            Err(Error::Unanswerable { .. })
        ));
        let eleven: String = (0..11).map(|n| format!(" JOIN t{n} IN c.a")).collect();
        assert!(matches!(parse(&format!("SELECT c.a FROM c{eleven}")), Err(Error::Syntax { .. })));
    }

    #[test]
    fn only_what_a_query_touches_is_read_of_a_document() {
        let touches = |text: &str, name: &str| parse(text).unwrap().bind([]).unwrap().touches(name);
        let joined =
            "SELECT VALUE t FROM c JOIN t IN c.tags WHERE EXISTS(SELECT VALUE 1 FROM p IN c.pets WHERE p.x = c.n)";
        for name in ["tags", "pets", "n"] {
            assert!(touches(joined, name), "{name}");
        }
        assert!(!touches(joined, "x"));
        assert!(touches("SELECT VALUE c FROM c JOIN t IN c.tags", "_ts"), "the whole document is in the result");
    }
}
