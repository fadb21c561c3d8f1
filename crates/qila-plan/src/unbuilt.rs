//! Clauses that policies may have and this build has no mechanism for: refused by name, on every tier.
use qila_policy::model::{Policy, Source};

/// The first such clause of a policy, and what is missing.
pub fn unbuilt(policy: &Policy) -> Option<(&'static str, String)> {
    for credential in &policy.credentials {
        let lacking = match (&credential.source, credential.ttl) {
            (Source::Vault(_), _) => "the source `vault`",
            (Source::Oauth2(_), _) => "the source `oauth2`",
            (Source::GithubApp(_), _) => "the source `github_app`",
            (Source::Aws(_), Some(_)) => "`ttl` for keys of `aws`",
            (Source::Aws(_) | Source::Env(_) | Source::File(_) | Source::Command(_), _) => continue,
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
