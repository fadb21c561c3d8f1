//! Dependencies say which version they need.
use super::Finding;
use crate::metadata::Metadata;

/// Finds `*`, under which any release of a registry's crate would be taken. `deny.toml` leaves this to us.
pub fn check(metadata: &Metadata) -> Finding {
    let all = metadata.packages.iter().flat_map(|package| {
        let wild = package.dependencies.iter().filter(|to| to.any_version);
        wild.map(|to| format!("{} takes any version of {}", package.name, to.name))
    });
    Finding::from_complaints(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_star_for_a_crate_of_a_registry_is_named() {
        let metadata = Metadata::parse(
            br#"{"target_directory":"/t","packages":[{"name":"a","manifest_path":"/w/a/Cargo.toml","targets":[],"dependencies":[
            {"name":"own","req":"*","source":null},
            {"name":"good","req":"^1","source":"registry+https://x"},
            {"name":"wild","req":"*","source":"registry+https://x"}]}]}"#,
        )
        .expect("valid");
        assert_eq!(
            check(&metadata),
            Finding::Failed(vec!["a takes any version of wild".to_owned()])
        );
    }
}
