//! What surrounds the programs of the sandboxes that have to do with zygotes.
use super::filter::widen;
use qila_wire::LimitKind;
use qila_wire::served::Cage;

/// Newest ABI of Landlock without scopes.
pub(super) const UNSCOPED: u32 = 5;

/// For a sandbox that is to receive a fork: told to its guest and to the zygote alike.
///
/// A fork cannot be in the Landlock domain of the guest, which is inherited only. Domains that keep signals to themselves would
/// keep the guest from ending it, and programs from signalling it. What keeps signals and abstract sockets inside is then the
/// process and network namespaces, which every tier makes.
pub fn one_wall(mut cage: Cage) -> Cage {
    cage.landlock.abi = cage.landlock.abi.min(UNSCOPED);
    cage
}

/// For the sandbox of a zygote which is to have as many sandboxes beneath it at once; none where there is no filter for this
/// processor.
///
/// What surrounds its template's programs, but that it may enter the sandboxes beneath it; that it is in no Landlock domain, which its
/// forks could never leave for that of their own sandbox; and that processes of the sandboxes beneath, which the kernel counts
/// for every user namespace above them too, leave it as many as it has alone.
pub fn warm(mut cage: Cage, beneath: u32) -> Option<Cage> {
    cage.filter = widen(&cage.filter)?;
    cage.landlock.abi = 0;
    for limit in &mut cage.limits {
        if limit.what == LimitKind::Processes {
            // In each there are as many, its guest among them.
            limit.value = limit.value.saturating_mul(u64::from(beneath).saturating_add(1));
        }
    }
    Some(cage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use qila_wire::{Landlock, Limit};

    #[test]
    fn only_what_forks_need_is_wider() {
        let limit = |what, value| Limit { what, value };
        let cage = Cage {
            limits: vec![limit(LimitKind::Processes, 65), limit(LimitKind::OpenFiles, 256)],
            landlock: Landlock {
                abi: 7,
                paths: Vec::new(),
                connect: None,
            },
            filter: vec![6, 0, 0, 0, 0, 0, 0, 0],
            cpus: vec![1],
            accounting: None,
            home: b"/home/user".to_vec(),
        };
        let wide = warm(cage.clone(), 9).unwrap();
        assert_eq!(
            wide.limits,
            [limit(LimitKind::Processes, 650), limit(LimitKind::OpenFiles, 256)]
        );
        assert_eq!(
            (wide.landlock.abi, &wide.cpus, &wide.home),
            (0, &cage.cpus, &cage.home)
        );
        assert!(wide.filter.ends_with(&cage.filter));
        assert_eq!(one_wall(cage.clone()).landlock.abi, 5);
        assert_eq!(one_wall(cage.clone()).limits, cage.limits);
    }
}
