/// Whether `text` fits a LIKE pattern: `%` any run, `_` one character, `[a-f]` one of these, `[^a-f]` one but these; a
/// character after `escape` is itself.
pub(crate) fn matches(text: &str, pattern: &str, escape: Option<char>) -> bool {
    let pieces = pieces(pattern, escape);
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut piece) = (0, 0);
    // Where to go on after the last `%` when what follows it does not fit: one character later.
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match pieces.get(piece) {
            Some(Piece::Run) => {
                piece += 1;
                retry = Some((at, piece));
            }
            Some(wanted) if wanted.fits(text[at]) => {
                at += 1;
                piece += 1;
            }
            _ => match retry {
                Some((from, after_run)) => {
                    retry = Some((from + 1, after_run));
                    at = from + 1;
                    piece = after_run;
                }
                None => return false,
            },
        }
    }
    pieces[piece..].iter().all(|rest| *rest == Piece::Run)
}

#[derive(Debug, PartialEq)]
enum Piece {
    Run,
    Any,
    One(char),
    Set { except: bool, ranges: Vec<(char, char)> },
}

impl Piece {
    fn fits(&self, character: char) -> bool {
        match self {
            Self::Run => false,
            Self::Any => true,
            Self::One(wanted) => *wanted == character,
            Self::Set { except, ranges } => {
                ranges.iter().any(|&(low, high)| low <= character && character <= high) != *except
            }
        }
    }
}

fn pieces(pattern: &str, escape: Option<char>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        pieces.push(match character {
            _ if Some(character) == escape => Piece::One(rest.next().unwrap_or(character)),
            '%' => Piece::Run,
            '_' => Piece::Any,
            '[' => match rest.as_str().split_once(']') {
                Some((inside, after)) => {
                    rest = after.chars();
                    set(inside)
                }
                None => Piece::One('['),
            },
            plain => Piece::One(plain),
        });
    }
    pieces
}

fn set(inside: &str) -> Piece {
    let (except, inside) = inside.strip_prefix('^').map_or((false, inside), |inside| (true, inside));
    let characters: Vec<char> = inside.chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let low = characters[at];
        match characters.get(at + 1..at + 3) {
            Some(&['-', high]) => {
                ranges.push((low, high));
                at += 3;
            }
            _ => {
                ranges.push((low, low));
                at += 1;
            }
        }
    }
    Piece::Set { except, ranges }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_they_describe() {
        let cases = [
            ("abc", "abc", true),
            ("abc", "ab", false),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "%b%", true),
            ("abc", "%", true),
            ("", "%", true),
            ("", "_", false),
            ("abc", "a_c", true),
            ("éü", "__", true),
            ("aXbXc", "%X_", true),
            ("aaab", "%aab", true),
            ("abc", "[a-c]b[^x-z]", true),
            ("xbc", "[a-c]%", false),
            ("a-c", "a[-]c", true),
            ("50%", "50!%", true),
            ("505", "50!%", false),
            ("a[c", "a[c", true),
        ];
        for (text, pattern, fits) in cases {
            assert_eq!(matches(text, pattern, Some('!')), fits, "{text} LIKE {pattern}");
        }
    }

    #[test]
    fn a_pattern_of_many_runs_does_not_explode() {
        let pattern = "%aa".repeat(50) + "b";
        assert!(!matches(&"a".repeat(2_000), &pattern, None));
    }
}
