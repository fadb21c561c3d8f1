//! The order in which templates were asked for: what takes longer is not to undo what was said later.
use qila_api::Tenant;
use std::collections::BTreeMap;

/// Templates that are being made, by the order in which that was asked for. One that was made anew or removed meanwhile is in it no
/// more. Held while templates are changed.
#[derive(Default)]
pub(crate) struct Puts {
    next: u64,
    under_way: BTreeMap<u64, (Tenant, String)>,
}

impl Puts {
    pub(crate) fn begin(&mut self, tenant: &Tenant, id: &str) -> u64 {
        self.next += 1;
        self.under_way.insert(self.next, (tenant.clone(), id.to_owned()));
        self.next
    }

    /// False: it is not wanted any more.
    pub(crate) fn end(&mut self, number: u64) -> bool {
        self.under_way.remove(&number).is_some()
    }

    /// Those that were asked for before this one are not wanted any more.
    pub(crate) fn overtake(&mut self, number: u64, tenant: &Tenant, id: &str) {
        self.under_way
            .retain(|n, of| *n > number || of.0 != *tenant || of.1 != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_last_is_made() {
        let (a, b) = (Tenant::parse("a").unwrap(), Tenant::parse("b").unwrap());
        let mut puts = Puts::default();
        let (one, two, other) = (puts.begin(&a, "t"), puts.begin(&a, "t"), puts.begin(&b, "t"));
        assert!(puts.end(two), "the later one is ready first");
        puts.overtake(two, &a, "t");
        assert!(!puts.end(one) && puts.end(other));
        let (old, kept) = (puts.begin(&a, "t"), puts.begin(&a, "u"));
        puts.overtake(u64::MAX, &a, "t");
        let new = puts.begin(&a, "t");
        assert!(
            !puts.end(old) && puts.end(kept) && puts.end(new),
            "removed in between"
        );
        assert!(puts.under_way.is_empty());
    }
}
