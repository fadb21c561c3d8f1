//! An account as it lies in a file: a record of fixed size with a checksum.

/// Most processes that hold reservations of one account at a time.
pub const MAX_OWNERS: usize = 200;
/// Parts of a window. One more is kept: the oldest counts until all of it is outside.
pub(crate) const PARTS: u64 = 60;
const KEPT: usize = 64;
/// Bytes of one record.
pub(crate) const SIZE: usize = 8192;
const MAGIC: u64 = u64::from_le_bytes(*b"qilabgt1");

/// Who holds reservations: the id of a run.
pub type Owner = [u8; 20];

/// The contents of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Counts the writes.
    pub sequence: u64,
    /// Whose account it is.
    pub key: [u8; 32],
    pub boot: [u8; 16],
    pub since_boot_ms: u64,
    pub wall_ms: u64,
    /// The account's own time, which never goes back.
    pub time_ms: u64,
    /// Spent, by part of the window: number of the part and amount; without a window, all under part 0.
    pub spent: Vec<(u64, u64)>,
    /// Reserved, by owner.
    pub reserved: Vec<(Owner, u64)>,
    /// Of what was spent: never settled, since its owner died.
    pub unsettled: u64,
    /// Of what was spent: beyond what had been reserved.
    pub overrun: u64,
}

impl Record {
    /// A new account.
    pub(crate) fn new(key: [u8; 32]) -> Record {
        Record {
            sequence: 0,
            key,
            boot: [0; 16],
            since_boot_ms: 0,
            wall_ms: 0,
            time_ms: 0,
            spent: Vec::new(),
            reserved: Vec::new(),
            unsettled: 0,
            overrun: 0,
        }
    }

    /// Its bytes. None: it holds more than fits.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        if self.spent.len() > KEPT || self.reserved.len() > MAX_OWNERS {
            return None;
        }
        let mut out = Vec::with_capacity(SIZE);
        let mut word = |n: u64| out.extend(n.to_le_bytes());
        word(MAGIC);
        word(self.sequence);
        for n in [
            self.since_boot_ms,
            self.wall_ms,
            self.time_ms,
            self.unsettled,
            self.overrun,
        ] {
            word(n);
        }
        word(self.spent.len() as u64);
        word(self.reserved.len() as u64);
        for (part, amount) in &self.spent {
            word(*part);
            word(*amount);
        }
        out.extend(self.key);
        out.extend(self.boot);
        for (owner, amount) in &self.reserved {
            out.extend(owner);
            out.extend([0; 4]);
            out.extend(amount.to_le_bytes());
        }
        out.resize(SIZE - 8, 0);
        let sum = checksum(&out);
        out.extend(sum.to_le_bytes());
        Some(out)
    }

    /// From bytes. None: this is no whole record.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Record> {
        let (body, sum) = bytes.get(..SIZE)?.split_at_checked(SIZE - 8)?;
        if checksum(body) != u64::from_le_bytes(sum.try_into().ok()?) {
            return None;
        }
        let mut rest = body;
        let mut take = |n: usize| {
            let (head, tail) = rest.split_at_checked(n)?;
            rest = tail;
            Some(head)
        };
        let mut word = || Some(u64::from_le_bytes(take(8)?.try_into().ok()?));
        if word()? != MAGIC {
            return None;
        }
        let sequence = word()?;
        let (since_boot_ms, wall_ms, time_ms) = (word()?, word()?, word()?);
        let (unsettled, overrun) = (word()?, word()?);
        let (parts, owners) = (word()?, word()?);
        if parts > KEPT as u64 || owners > MAX_OWNERS as u64 {
            return None;
        }
        let mut spent = Vec::new();
        for _ in 0..parts {
            spent.push((word()?, word()?));
        }
        let key = take(32)?.try_into().ok()?;
        let boot = take(16)?.try_into().ok()?;
        let mut reserved = Vec::new();
        for _ in 0..owners {
            let owner = take(20)?.try_into().ok()?;
            take(4)?;
            reserved.push((owner, u64::from_le_bytes(take(8)?.try_into().ok()?)));
        }
        Some(Record {
            sequence,
            key,
            boot,
            since_boot_ms,
            wall_ms,
            time_ms,
            spent,
            reserved,
            unsettled,
            overrun,
        })
    }
}

/// Tells a record that was cut off from a whole one. It is no proof against anybody: the file is its owner's alone.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |sum: u64, chunk| {
        let mut word = [0u8; 8];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        let mixed = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_written_and_no_cut_of_it_does() {
        let mut record = Record::new([7; 32]);
        record.sequence = 9;
        record.spent = (0..64).map(|n| (n, n * 3)).collect();
        record.reserved = (0..MAX_OWNERS)
            .map(|n| ([u8::try_from(n).unwrap(); 20], n as u64))
            .collect();
        (record.time_ms, record.unsettled, record.overrun, record.boot) = (1, 2, 3, [4; 16]);
        let bytes = record.encode().unwrap();
        assert_eq!(bytes.len(), SIZE);
        assert_eq!(Record::decode(&bytes), Some(record.clone()));
        let other = Record::new([1; 32]).encode().unwrap();
        for cut in (1..SIZE).step_by(97) {
            let torn = [&other[..cut], &bytes[cut..]].concat();
            let whole = torn == bytes || torn == other;
            assert_eq!(Record::decode(&torn).is_some(), whole, "{cut}");
        }
        for at in (0..SIZE).step_by(61) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert_eq!(Record::decode(&flipped), None, "{at}");
        }
        record.reserved.push(([0; 20], 1));
        assert_eq!(record.encode(), None);
    }
}
