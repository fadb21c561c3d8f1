//! Synthetic addresses: what names resolve to inside.
//!
//! An address of 198.18.0.0/15 (RFC 2544, never routed) stands for one name for the whole run, so that a connection to it
//! says by itself which name was meant. Real addresses are never shown inside.
use qila_policy::model::HostName;
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// Most names that one run may look up.
const MAX: usize = 8192;
const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 1]);

/// Names seen, and their addresses.
#[derive(Debug, Default)]
pub(crate) struct Names {
    by_name: HashMap<HostName, u32>,
    by_index: Vec<HostName>,
}

impl Names {
    /// The name's address, and whether it is new; none when there are too many names.
    pub(crate) fn address(&mut self, name: &HostName) -> Option<(Ipv4Addr, bool)> {
        if let Some(index) = self.by_name.get(name) {
            return Some((Ipv4Addr::from(FIRST + index), false));
        }
        if self.by_index.len() >= MAX {
            return None;
        }
        let index = u32::try_from(self.by_index.len()).ok()?;
        self.by_index.push(name.clone());
        self.by_name.insert(name.clone(), index);
        Some((Ipv4Addr::from(FIRST + index), true))
    }

    /// The name that an address stands for.
    pub(crate) fn name(&self, address: Ipv4Addr) -> Option<&HostName> {
        let index = u32::from(address).checked_sub(FIRST)?;
        self.by_index.get(usize::try_from(index).ok()?)
    }
}

/// Whether an address could stand for a name.
pub(crate) fn is_synthetic(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    a == 198 && (b == 18 || b == 19)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_stable_and_bounded() {
        let mut names = Names::default();
        let name = |i: usize| HostName::parse(&format!("h{i}.example.org")).unwrap();
        let (first, new) = names.address(&name(0)).unwrap();
        assert!(new && is_synthetic(first));
        assert_eq!(names.address(&name(0)), Some((first, false)));
        assert_eq!(names.name(first), Some(&name(0)));
        assert_eq!(names.name("198.18.0.2".parse().unwrap()), None);
        assert_eq!(names.name("10.0.0.1".parse().unwrap()), None);
        for i in 1..MAX {
            assert!(names.address(&name(i)).is_some());
        }
        assert_eq!(names.address(&name(MAX)), None);
        assert_eq!(names.address(&name(0)), Some((first, false)));
    }
}
