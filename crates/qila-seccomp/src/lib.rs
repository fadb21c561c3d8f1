#![allow(missing_docs)]
pub struct Flags { pub deny_sysv_ipc: bool, pub deny_setaffinity: bool, pub allow_inet: bool }
pub struct Spec;
impl Spec { pub fn from_policy(_: &qila_policy::model::Syscalls, _: Flags) -> Result<Spec, String> { Ok(Spec) } }
#[derive(Clone, Copy)]
pub enum Arch { X }
impl Arch { pub fn native() -> Option<Arch> { Some(Arch::X) } }
pub struct Insn { pub code: u16, pub jt: u8, pub jf: u8, pub k: u32 }
pub fn compile(_: &Spec, _: Arch) -> Result<Vec<Insn>, String> { Ok(vec![Insn { code: 6, jt: 0, jf: 0, k: 0x7fff0000 }]) }
