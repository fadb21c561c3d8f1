//! The attacks, by what they go for.
mod credentials;
mod dns;
mod files;
mod floods;
mod http;
mod kernel;
mod leavings;
mod network;
mod processes;
mod smuggling;
mod sockets;
mod terminal;
mod writing;

use crate::case::Attack;

/// All of them, in the order of the attack list.
pub fn all() -> Vec<&'static Attack> {
    let families: [&'static [Attack]; 13] = [
        files::ATTACKS,
        writing::ATTACKS,
        kernel::ATTACKS,
        processes::ATTACKS,
        sockets::ATTACKS,
        terminal::ATTACKS,
        network::ATTACKS,
        dns::ATTACKS,
        http::ATTACKS,
        smuggling::ATTACKS,
        credentials::ATTACKS,
        floods::ATTACKS,
        leavings::ATTACKS,
    ];
    families.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn names_are_unique_and_there_are_enough() {
        let mut names: Vec<_> = all().iter().map(|a| a.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(count >= 45, "{count}");
    }

    #[test]
    fn the_readme_names_every_attack() {
        let readme = include_str!("../../README.md");
        for attack in all() {
            assert!(
                readme.contains(&format!("`{}`", attack.name)),
                "README.md does not name {}",
                attack.name
            );
        }
    }
}
