//! A zygote's seccomp filter: its template's, and one call more.

/// Loads a word of what the filter looks at; compares; returns.
const LOAD: u16 = 0x20;
const JEQ: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Where the processor and the number of the call are.
const PROCESSOR: u32 = 4;
const NUMBER: u32 = 0;
const ALLOW: u32 = 0x7fff_0000;

/// The processor that this program was built for, as filters see it, and its number of `setns`.
const NATIVE: Option<(u32, u32)> = if cfg!(target_arch = "x86_64") {
    Some((0xC000_003E, 308))
} else if cfg!(target_arch = "aarch64") {
    Some((0xC000_00B7, 268))
} else {
    None
};

/// The filter under which a zygote runs: what `filter` allows, and `setns`. All that a fork needs besides is in every filter,
/// since a program may always give up what it has. None where there is no filter for this processor.
///
/// A fork puts the filter of its sandbox over this one, and the kernel asks both.
pub(super) fn widen(filter: &[u8]) -> Option<Vec<u8>> {
    let (processor, setns) = NATIVE?;
    let one = |code: u16, jt: u8, jf: u8, k: u32| {
        let [c0, c1] = code.to_ne_bytes();
        let [k0, k1, k2, k3] = k.to_ne_bytes();
        [c0, c1, jt, jf, k0, k1, k2, k3]
    };
    let before = [
        one(LOAD, 0, 0, PROCESSOR),
        one(JEQ, 0, 3, processor),
        one(LOAD, 0, 0, NUMBER),
        one(JEQ, 0, 1, setns),
        one(RETURN, 0, 0, ALLOW),
    ];
    Some([before.as_flattened(), filter].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of a filter that `widen` adds, run as the kernel runs it; none: it falls through to the filter.
    fn run(filter: &[u8], processor: u32, number: u32) -> Option<u32> {
        let mut at = 0;
        let mut word = 0;
        while at < filter.len() / 8 {
            let i = &filter[at * 8..at * 8 + 8];
            let k = u32::from_ne_bytes(i[4..].try_into().unwrap());
            at += 1;
            match u16::from_ne_bytes([i[0], i[1]]) {
                LOAD if k == PROCESSOR => word = processor,
                LOAD => word = number,
                JEQ => at += usize::from(if word == k { i[2] } else { i[3] }),
                RETURN => return Some(k),
                _ => panic!("unknown"),
            }
        }
        None
    }

    #[test]
    fn setns_alone_is_added() {
        let Some((processor, setns)) = NATIVE else { return };
        let filter = widen(&[]).unwrap();
        assert_eq!(run(&filter, processor, setns), Some(ALLOW));
        assert_eq!(run(&filter, processor, setns + 1), None);
        assert_eq!(run(&filter, processor ^ 1, setns), None);
    }
}
