//! Clauses that policies may have and this build has no mechanism for: refused by name, on every tier.
use qila_policy::model::{Policy, Source};

/// The first such clause of a policy, and what is missing.
pub fn unbuilt(policy: &Policy) -> Option<(&'static str, String)> {
    for credential in &policy.credentials {
        let kind = match credential.source {
            Source::Env(_) | Source::File(_) | Source::Command(_) => None,
            Source::Vault(_) => Some("vault"),
            Source::Oauth2(_) => Some("oauth2"),
            Source::Aws(_) => Some("aws"),
            Source::GithubApp(_) => Some("github_app"),
        };
        let lacking = match (kind, credential.placement.signs()) {
            (Some(kind), _) => format!("the source `{kind}`"),
            (None, true) => "`placement: sigv4`".to_owned(),
            (None, false) => continue,
        };
        let what = format!(
            "{lacking} of the credential `{}` is not in this build",
            credential.name
        );
        return Some(("credentials", what));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::unbuilt;
    use qila_policy::{NoFiles, parse};

    #[test]
    fn what_nothing_enforces_is_named() {
        for (rest, expected) in [
            ("network: {allow: [{host: a.org, methods: [GET]}]}", None),
            ("network: {allow: [{host: a.org, query: {a: b}}]}", None),
            ("network: {allow: [{host: a.org, body: 1MiB}]}", None),
            ("network: {allow: [a.org]}\nbudgets: [{requests: 5}]", None),
            (
                "network: {allow: [{host: a.org, credential: k}]}\ncredentials: {k: {source: env:K, placement: bearer, hosts: [a.org], ttl: 5m}}",
                None,
            ),
        ] {
            let policy = parse("p.yaml", &format!("version: 1\n{rest}\n"), &mut NoFiles);
            let policy = policy.unwrap_or_else(|e| panic!("{rest}: {e}"));
            assert_eq!(unbuilt(&policy).map(|(clause, _)| clause), expected, "{rest}");
        }
    }
}
