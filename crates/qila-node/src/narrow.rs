//! What a wish leaves of a policy's network: a wish can narrow it and never widen it.
use qila_api::{ApiError, Kind, NetworkWish};
use qila_policy::Policy;
use qila_policy::model::HostPattern;

fn pattern(text: &str) -> Result<HostPattern, ApiError> {
    HostPattern::parse(text).map_err(|e| ApiError::invalid(e.to_string()).clause("network"))
}

/// Whether a pattern names every address there is, and so every host.
fn everything(pattern: &HostPattern) -> bool {
    matches!(pattern, HostPattern::Net(net) if net.prefix_len() == 0)
}

/// Leaves what was wished for.
pub(crate) fn narrow(policy: &mut Policy, wish: &NetworkWish) -> Result<(), ApiError> {
    let rules = &mut policy.network.allow;
    if wish.internet == Some(false) {
        rules.clear();
    }
    if !wish.allow.is_empty() {
        let wanted: Vec<HostPattern> = wish.allow.iter().map(|t| pattern(t)).collect::<Result<_, _>>()?;
        let mut kept = Vec::new();
        for want in &wanted {
            let before = kept.len();
            for rule in rules.iter() {
                let mut rule = rule.clone();
                if !everything(want) && !want.covers(&rule.host) {
                    if !rule.host.covers(want) {
                        continue;
                    }
                    rule.host = want.clone();
                }
                if !kept.contains(&rule) {
                    kept.push(rule);
                }
            }
            if kept.len() == before
                && !wanted.iter().any(|w| w != want && w.covers(want))
                && !everything(want)
            {
                return Err(ApiError::new(
                    Kind::Refused,
                    format!("the template's policy allows nothing of `{want}`"),
                )
                .clause("network.allow")
                .hint("ask for what the template allows, or use a template whose policy allows it"));
            }
        }
        *rules = kept;
    }
    for text in &wish.deny {
        let deny = pattern(text)?;
        if everything(&deny) {
            rules.clear();
            continue;
        }
        rules.retain(|rule| !deny.covers(&rule.host));
        if let Some(rule) = rules.iter().find(|rule| rule.host.covers(&deny)) {
            let text = format!(
                "the template's policy allows `{}`, of which `{deny}` cannot be taken away alone",
                rule.host
            );
            return Err(ApiError::new(Kind::Refused, text)
                .clause("network.allow")
                .hint("say what is to be allowed instead"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use qila_policy::{NoFiles, parse};

    fn policy() -> Policy {
        let text = "version: 1\nnetwork: {allow: [a.example.org, \"*.b.example.org\", 192.0.2.0/24]}\n";
        parse("p.yaml", text, &mut NoFiles).unwrap()
    }

    fn hosts(wish: &NetworkWish) -> Result<Vec<String>, Kind> {
        let mut policy = policy();
        narrow(&mut policy, wish).map_err(|e| e.kind)?;
        Ok(policy.network.allow.iter().map(|r| r.host.to_string()).collect())
    }

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn a_wish_narrows_and_never_widens() {
        let all = list(&["a.example.org", "*.b.example.org", "192.0.2.0/24"]);
        let wish = |internet, allow: &[&str], deny: &[&str]| NetworkWish {
            internet,
            allow: list(allow),
            deny: list(deny),
        };
        for (wish, expected) in [
            (wish(None, &[], &[]), Ok(all.clone())),
            (wish(Some(true), &[], &[]), Ok(all.clone())),
            (wish(Some(false), &[], &[]), Ok(vec![])),
            (wish(None, &["0.0.0.0/0"], &[]), Ok(all)),
            (
                wish(None, &["x.b.example.org"], &[]),
                Ok(list(&["x.b.example.org"])),
            ),
            (wish(None, &["192.0.2.7"], &[]), Ok(list(&["192.0.2.7"]))),
            (
                wish(None, &["*.example.org"], &[]),
                Ok(list(&["a.example.org", "*.b.example.org"])),
            ),
            (wish(None, &["evil.com"], &[]), Err(Kind::Refused)),
            (wish(None, &["0.0.0.0/1"], &[]), Err(Kind::Refused)),
            (wish(None, &["not a host"], &[]), Err(Kind::Invalid)),
            (
                wish(None, &[], &["a.example.org"]),
                Ok(list(&["*.b.example.org", "192.0.2.0/24"])),
            ),
            (wish(None, &[], &["0.0.0.0/0"]), Ok(vec![])),
            (wish(None, &[], &["x.b.example.org"]), Err(Kind::Refused)),
        ] {
            assert_eq!(hosts(&wish), expected, "{wish:?}");
        }
    }
}
