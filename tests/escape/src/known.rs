//! Breaches that are known and written down: they do not fail the suite, and one that starts to hold does.

const LIST: &str = include_str!("../known-breaches.txt");

/// Lines of the list: attack, target, user (`*` for any), reason.
pub fn all() -> impl Iterator<Item = [&'static str; 4]> {
    LIST.lines()
        .filter(|l| !l.trim_start().starts_with('#'))
        .filter_map(|line| {
            let (name, rest) = line.trim().split_once(' ')?;
            let (target, rest) = rest.trim_start().split_once(' ')?;
            let (user, reason) = rest.trim_start().split_once(' ')?;
            Some([name, target, user, reason.trim()])
        })
}

/// Why an attack is known to succeed there, if it is.
pub fn reason(name: &str, target: &str, user: &str) -> Option<&'static str> {
    let fits = |pattern: &str, word: &str| pattern == "*" || pattern == word;
    all()
        .find(|[n, t, u, _]| *n == name && fits(t, target) && fits(u, user))
        .map(|[.., reason]| reason)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_line_names_an_attack_and_says_why() {
        let attacks = crate::table::all();
        let lines = include_str!("../known-breaches.txt").lines();
        let wanted = lines
            .filter(|l| !l.trim().is_empty() && !l.starts_with('#'))
            .count();
        assert_eq!(super::all().count(), wanted);
        for [name, target, user, reason] in super::all() {
            assert!(attacks.iter().any(|a| a.name == name), "{name}");
            assert!(["*", "process", "container"].contains(&target), "{target}");
            assert!(["*", "root", "user"].contains(&user), "{user}");
            assert!(reason.len() > 20, "{reason}");
        }
        assert_eq!(super::reason("no-such-attack", "process", "root"), None);
    }
}
