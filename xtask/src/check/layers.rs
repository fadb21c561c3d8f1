//! Edges between packages run one way.
use super::Finding;
use crate::metadata::Metadata;
use crate::tables::{LAYERS, PURE, WORLDLY};

/// Judges the workspace against the order of [`LAYERS`].
pub fn check(metadata: &Metadata) -> Finding {
    let packages: Vec<Edges<'_>> = metadata
        .packages
        .iter()
        .map(|package| Edges {
            name: &package.name,
            // A test may use a higher crate as a judge; what is shipped may not.
            to: package
                .dependencies
                .iter()
                .filter(|to| !to.only_dev)
                .map(|to| to.name.as_str())
                .collect(),
        })
        .collect();
    Finding::from_complaints(complaints(LAYERS, &packages))
}

/// One package and what it depends on.
struct Edges<'a> {
    name: &'a str,
    to: Vec<&'a str>,
}

fn complaints(layers: &[&[&str]], packages: &[Edges<'_>]) -> Vec<String> {
    let rank = |name: &str| layers.iter().position(|layer| layer.contains(&name));
    let inside = |name: &str| packages.iter().any(|package| package.name == name);
    let mut found = Vec::new();
    for package in packages {
        let Some(own) = rank(package.name) else {
            found.push(format!(
                "{} has no place in LAYERS (xtask/src/tables.rs)",
                package.name
            ));
            continue;
        };
        for to in &package.to {
            if PURE.contains(&package.name) && WORLDLY.contains(to) {
                found.push(format!("{} is pure and must not depend on {to}", package.name));
            }
            if let Some(other) = rank(to).filter(|_| inside(to)) {
                if other == own {
                    found.push(format!("{} -> {to}: both are in the same layer", package.name));
                } else if other > own {
                    found.push(format!("{} -> {to}: runs back up the layers", package.name));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &[&[&str]] = &[&["low"], &["left", "right"], &["high"]];

    fn judge(edges: &[(&str, &[&str])]) -> Vec<String> {
        let packages: Vec<_> = edges
            .iter()
            .map(|(name, to)| Edges {
                name,
                to: to.to_vec(),
            })
            .collect();
        complaints(ORDER, &packages)
    }

    #[test]
    fn edges_down_the_order_pass() {
        assert_eq!(
            judge(&[
                ("high", &["left", "right", "low", "serde"]),
                ("left", &["low"]),
                ("right", &[]),
                ("low", &[])
            ]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_edge_back_is_named() {
        let found = judge(&[("low", &["high"]), ("high", &[])]);
        assert_eq!(found, ["low -> high: runs back up the layers"]);
    }

    #[test]
    fn siblings_may_not_meet() {
        let found = judge(&[("left", &["right"]), ("right", &[])]);
        assert_eq!(found, ["left -> right: both are in the same layer"]);
    }

    #[test]
    fn an_unplaced_package_is_named() {
        assert_eq!(judge(&[("stray", &[])]).len(), 1);
    }

    #[test]
    fn a_pure_package_may_not_touch_the_world() {
        let packages = [Edges {
            name: "qila-policy",
            to: vec!["rustix", "serde"],
        }];
        assert_eq!(
            complaints(LAYERS, &packages),
            ["qila-policy is pure and must not depend on rustix"]
        );
    }

    #[test]
    fn dev_edges_are_not_edges() {
        let text = br#"{"target_directory":"/t","packages":[
            {"name":"qila-types","manifest_path":"/w/a/Cargo.toml","targets":[],
             "dependencies":[{"name":"qila-cli","kind":"dev"}]},
            {"name":"qila-cli","manifest_path":"/w/b/Cargo.toml","targets":[],
             "dependencies":[{"name":"qila-types","kind":null}]}]}"#;
        let metadata = Metadata::parse(text).expect("valid");
        assert_eq!(check(&metadata), Finding::Passed);
        let turned = String::from_utf8_lossy(text).replace("\"dev\"", "null");
        let metadata = Metadata::parse(turned.as_bytes()).expect("valid");
        assert_eq!(
            check(&metadata),
            Finding::Failed(vec!["qila-types -> qila-cli: runs back up the layers".to_owned()])
        );
    }

    #[test]
    fn every_package_has_one_place() {
        let mut names: Vec<_> = LAYERS.iter().flat_map(|layer| layer.iter()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(PURE.iter().all(|name| names.contains(&name)));
    }
}
