//! Patterns over names of models.

/// Whether a pattern matches a name: `*` any text, `?` one byte. Letters match in any case.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while let Some(have) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(want) if *want == b'?' || want.eq_ignore_ascii_case(have) => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((star, at)) => {
                    back = Some((star, at + 1));
                    p = star + 1;
                    n = at + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|b| *b == b'*'))
}

/// How closely a pattern tells a name: the characters that are no wildcard, then all.
pub(crate) fn weight(pattern: &str) -> (usize, usize) {
    let plain = pattern.chars().filter(|c| !matches!(c, '*' | '?')).count();
    (plain, pattern.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn oracle(p: &[u8], n: &[u8]) -> bool {
        match (p.first(), n.first()) {
            (None, None) => true,
            (Some(b'*'), _) => oracle(&p[1..], n) || (!n.is_empty() && oracle(p, &n[1..])),
            (Some(b'?'), Some(_)) => oracle(&p[1..], &n[1..]),
            (Some(a), Some(b)) if a == b => oracle(&p[1..], &n[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_it_says(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            prop_assert_eq!(matches(&pattern, &name), oracle(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
