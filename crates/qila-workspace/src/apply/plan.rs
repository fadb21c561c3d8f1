//! Orders the operations, so that each finds the directory it needs.
use super::journal::{Op, Raw, Seal};
use super::stage::Staged;
use crate::{Change, ChangeKind, Node, NodeKind};

/// Operations in order:
///
/// 1. directories whose mode changes, or that go, are made writable for their owner;
/// 2. what lies in a directory that becomes something else is taken out, innermost first, and the directory removed;
/// 3. everything new is put in place, outermost first;
/// 4. what is deleted is taken out, innermost first;
/// 5. directories get their final modes, innermost first.
pub(super) fn operations(changes: &[Change], staged: &[Staged]) -> Vec<Op> {
    let mut phases: [Vec<Op>; 5] = Default::default();
    let [open, clear, put, take, close] = &mut phases;
    // The directories becoming something else that enclose the current change; paths come sorted.
    let mut clearing: Option<&std::path::Path> = None;
    for (slot, (change, staged)) in changes.iter().zip(staged).enumerate() {
        let path = Raw(change.path.clone());
        clearing = clearing.filter(|dir| change.path.starts_with(dir));
        match (&change.before, &change.after) {
            (Some(old), Some(new)) if change.kind == ChangeKind::ModeChanged => {
                if old.kind == NodeKind::Directory {
                    // Writable in between, whatever it was and will be.
                    let between = new.mode | 0o700;
                    open.extend(mode(&path, old.mode, between, Some(old.id.ino)));
                    close.extend(mode(&path, between, new.mode, Some(old.id.ino)));
                } else {
                    put.extend(mode(&path, old.mode, new.mode, Some(old.id.ino)));
                }
            }
            (before, Some(new)) => {
                let mut old = before.as_ref().map(Seal::of);
                if let Some(dir) = before.as_ref().filter(|n| n.kind == NodeKind::Directory) {
                    open.extend(mode(&path, dir.mode, dir.mode | 0o700, None));
                    clear.push(rmdir(&path, dir));
                    clearing = clearing.or(Some(&change.path));
                    old = None;
                }
                let Some(seal) = staged.seal else {
                    continue;
                };
                if new.kind == NodeKind::Directory {
                    close.extend(mode(&path, 0o700, new.mode, Some(seal.ino)));
                }
                put.push(Op::Put {
                    path,
                    slot,
                    new: seal,
                    old,
                });
            }
            (Some(old), None) => {
                let op = if old.kind == NodeKind::Directory {
                    open.extend(mode(&path, old.mode, old.mode | 0o700, None));
                    rmdir(&path, old)
                } else {
                    Op::Take {
                        path,
                        slot,
                        old: Seal::of(old),
                    }
                };
                if clearing.is_some() {
                    clear.push(op)
                } else {
                    take.push(op)
                }
            }
            (None, None) => {}
        }
    }
    for phase in [clear, take, close] {
        phase.reverse();
    }
    phases.into_iter().flatten().collect()
}

fn rmdir(path: &Raw, node: &Node) -> Op {
    Op::Rmdir {
        path: path.clone(),
        mode: node.mode | 0o700,
    }
}

fn mode(path: &Raw, from: u32, to: u32, ino: Option<u64>) -> Option<Op> {
    (from != to).then(|| Op::Mode {
        path: path.clone(),
        from,
        to,
        ino,
    })
}
