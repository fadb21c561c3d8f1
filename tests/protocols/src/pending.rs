//! Rows that are known not to work, with the reason: they do not fail the suite, and one that works does.

const LIST: &str = include_str!("../pending.txt");

/// Lines of the list: a row's id with `*` for any text, `allow` or `deny` or `*`, the reason.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    LIST.lines()
        .filter(|l| !l.trim_start().starts_with('#'))
        .filter_map(|line| {
            let (row, rest) = line.trim().split_once(' ')?;
            let (case, reason) = rest.trim_start().split_once(' ')?;
            Some((row, case, reason.trim()))
        })
}

/// Whether a pattern with `*` fits the whole text.
pub fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len())
                .filter(|&i| tail.is_char_boundary(i))
                .any(|i| fits(rest, &tail[i..]))
        }),
    }
}

/// Why this case is known not to work, if it is.
pub fn reason(row: &str, case: &str) -> Option<&'static str> {
    all()
        .find(|(pattern, which, _)| fits(pattern, row) && fits(which, case))
        .map(|(.., reason)| reason)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_line_names_a_row_and_says_why() {
        let mut rows: Vec<String> = crate::row::all().iter().map(crate::row::Row::id).collect();
        rows.extend(crate::session::EXTRA.map(str::to_owned));
        for (pattern, case, reason) in super::all() {
            assert!(rows.iter().any(|r| super::fits(pattern, r)), "{pattern}");
            assert!(["allow", "deny", "*"].contains(&case), "{case}");
            assert!(reason.len() > 10, "{reason}");
        }
    }

    #[test]
    fn patterns() {
        assert!(super::fits("a/*/c", "a/b/c") && super::fits("*", "") && !super::fits("a/*", "b/a/"));
    }
}
