//! From data to classic BPF: a check of the processor, a search tree over the numbers, leaves that return.
use crate::{Action, Arch, CREATING, Check, ENOSYS, EPERM, Error, SET_ID, Spec};

/// One instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if the comparison holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JEQ: u16 = 0x15;
const JGE: u16 = 0x35;
const JSET: u16 = 0x45;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;

/// Longest program that the kernel takes.
const MAX: usize = 4096;
/// x86-64 marks calls of its 32-bit-pointer variant with this bit.
const X32: u32 = 0x4000_0000;

fn op(code: u16, k: u32) -> Insn {
    Insn {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
    Insn { code, jt, jf, k }
}

fn errno(number: u16) -> Insn {
    op(RETURN, ERRNO | u32::from(number))
}

/// Compiles a filter for a processor.
pub fn compile(spec: &Spec, arch: Arch) -> Result<Vec<Insn>, Error> {
    let mut out = vec![
        op(LOAD, 4),
        branch(JEQ, arch.audit, 1, 0),
        op(RETURN, KILL_PROCESS),
        op(LOAD, 0),
    ];
    out.extend([branch(JGE, X32, 0, 1), op(RETURN, KILL_PROCESS)]);
    // Runs of equal actions; what lies between known numbers is unknown.
    let mut runs: Vec<(u32, Action)> = vec![(0, Action::Errno(ENOSYS))];
    let mut next = 0u32;
    for (number, action) in &spec.actions {
        if *number > next {
            push(&mut runs, next, Action::Errno(ENOSYS));
        }
        push(&mut runs, *number, *action);
        next = number + 1;
    }
    push(&mut runs, next, Action::Errno(ENOSYS));
    tree(&runs, &mut out);
    if out.len() > MAX {
        Err(Error::TooLong(out.len()))
    } else {
        Ok(out)
    }
}

fn push(runs: &mut Vec<(u32, Action)>, start: u32, action: Action) {
    match runs.last_mut() {
        Some((at, old)) if *at == start => *old = action,
        Some((_, old)) if *old == action => {}
        _ => runs.push((start, action)),
    }
}

fn tree(runs: &[(u32, Action)], out: &mut Vec<Insn>) {
    match runs {
        [] => out.push(errno(ENOSYS)),
        [(_, action)] => leaf(*action, out),
        _ => {
            let (low, high) = runs.split_at(runs.len() / 2);
            let start = high.first().map_or(0, |(s, _)| *s);
            let mut left = Vec::new();
            tree(low, &mut left);
            // Where an offset of one byte does not reach over half a tree, a plain jump does.
            if let Ok(over) = u8::try_from(left.len()) {
                out.push(branch(JGE, start, over, 0));
            } else {
                out.push(branch(JGE, start, 0, 1));
                out.push(op(JUMP, u32::try_from(left.len()).unwrap_or(u32::MAX)));
            }
            out.extend(left);
            tree(high, out);
        }
    }
}

/// Offset of the low word of an argument in `struct seccomp_data`, on a little-endian processor.
fn argument(number: u8) -> u32 {
    16 + 8 * u32::from(number)
}

fn leaf(action: Action, out: &mut Vec<Insn>) {
    match action {
        Action::Allow => out.push(op(RETURN, ALLOW)),
        Action::Errno(number) => out.push(errno(number)),
        Action::Check(Check::NoBits { arg, bits }) => {
            out.extend([
                op(LOAD, argument(arg)),
                branch(JSET, bits, 0, 1),
                errno(EPERM),
                op(RETURN, ALLOW),
            ]);
        }
        Action::Check(Check::OneOf { arg, mask, values }) => {
            out.extend([op(LOAD, argument(arg)), op(AND, mask)]);
            for value in values {
                out.extend([branch(JEQ, *value, 0, 1), op(RETURN, ALLOW)]);
            }
            out.push(errno(EPERM));
        }
        Action::Check(Check::NoneOf { arg, values }) => {
            out.push(op(LOAD, argument(arg)));
            for value in values {
                out.extend([branch(JEQ, *value, 0, 1), errno(EPERM)]);
            }
            out.push(op(RETURN, ALLOW));
        }
        Action::Check(Check::Creation { flags, mode }) => out.extend([
            op(LOAD, argument(flags)),
            branch(JSET, CREATING, 0, 2),
            op(LOAD, argument(mode)),
            branch(JSET, SET_ID, 1, 0),
            op(RETURN, ALLOW),
            errno(EPERM),
        ]),
        Action::Check(Check::PairedStream) => out.extend([
            op(LOAD, argument(0)),
            branch(JEQ, 1, 0, 4),
            op(LOAD, argument(1)),
            op(AND, 0xf),
            branch(JEQ, 1, 2, 0),
            branch(JEQ, 5, 1, 0),
            errno(EPERM),
            op(RETURN, ALLOW),
        ]),
        Action::Check(Check::Socket { inet, unix }) => socket(inet, unix, out),
    }
}

fn socket(inet: bool, unix: bool, out: &mut Vec<Insn>) {
    out.push(op(LOAD, argument(0)));
    if unix {
        out.extend([branch(JEQ, 1, 0, 1), op(RETURN, ALLOW)]);
    }
    if inet {
        out.extend([branch(JEQ, 2, 1, 0), branch(JEQ, 10, 0, 6)]);
        out.extend([op(LOAD, argument(1)), op(AND, 0xf)]);
        out.extend([
            branch(JEQ, 1, 1, 0),
            branch(JEQ, 2, 0, 1),
            op(RETURN, ALLOW),
            errno(EPERM),
        ]);
    }
    out.extend([branch(JEQ, 16, 1, 0), errno(EPERM)]);
    out.extend([
        op(LOAD, argument(2)),
        branch(JEQ, 0, 0, 1),
        op(RETURN, ALLOW),
        errno(EPERM),
    ]);
}

/// Runs a program as the kernel would and answers the raw verdict.
#[cfg(test)]
pub(crate) fn simulate_raw(program: &[Insn], audit: u32, number: u32, args: [u32; 6]) -> u32 {
    let mut at = 0usize;
    let mut acc = 0u32;
    loop {
        let i = program[at];
        at += 1;
        let mut go = |holds: bool| at += usize::from(if holds { i.jt } else { i.jf });
        match i.code {
            LOAD => {
                acc = match i.k {
                    0 => number,
                    4 => audit,
                    k => args[((k - 16) / 8) as usize],
                }
            }
            AND => acc &= i.k,
            JUMP => at += i.k as usize,
            JEQ => go(acc == i.k),
            JGE => go(acc >= i.k),
            JSET => go(acc & i.k != 0),
            RETURN => return i.k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// Runs a program and answers its verdict as an action.
#[cfg(test)]
pub(crate) fn simulate(program: &[Insn], audit: u32, number: u32, args: [u32; 6]) -> Action {
    match simulate_raw(program, audit, number, args) {
        ALLOW => Action::Allow,
        verdict => Action::Errno((verdict & 0xffff) as u16),
    }
}
