//! Programs in a sandbox.
use crate::id::ProcessId;
use bytes::Bytes;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// A program to start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// Program and arguments. The program is looked up in `PATH` if it has no `/`.
    pub argv: Vec<String>,
    /// Variables beside the sandbox's.
    pub environment: BTreeMap<String, String>,
    /// Directory; none: the sandbox's home.
    pub cwd: Option<String>,
    /// A name for it.
    pub tag: Option<String>,
    /// A terminal of this size instead of three streams.
    pub terminal: Option<Size>,
    /// Whether it gets a standard input that can be written; else it reads the end at once.
    pub input: bool,
    /// In a fork of the template's warm program instead of a program that is started anew. Arguments are read as `python3` reads
    /// them (`-c`, `-m`, a file); with none, cells are read from the input, one JSON object a line.
    pub warm: bool,
}

/// Which process is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// By number.
    Pid(ProcessId),
    /// By the name that it was started with: the latest that has it.
    Tag(String),
}

/// From where on its output is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Attach {
    /// What comes from now on.
    #[default]
    Now,
    /// From this byte of its output on, as [`Output`] counts, as far back as it is kept.
    From(u64),
}

/// How a program ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Exit code, if it exited.
    pub code: Option<i32>,
    /// Signal, if one ended it.
    pub signal: Option<i32>,
}

/// What comes out of a program, in the order in which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// Its terminal.
    Terminal(Bytes),
    /// This many bytes were not kept for whoever came back late.
    Lost(u64),
    /// It ended; nothing comes after it.
    Ended(Status),
}

/// What can be said to a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes for its standard input or its terminal.
    Bytes(Bytes),
    /// The end of its standard input.
    End,
    /// Another size of its terminal.
    Resize(Size),
    /// A signal to its process group, by number.
    Signal(i32),
}

/// A started program. Dropping it leaves the program running: its newest output is kept, as far as the node keeps any, for
/// whoever attaches to it later.
#[derive(Debug)]
pub struct Process {
    /// Its number.
    pub pid: ProcessId,
    /// What comes out. It closes without [`Output::Ended`] only if the sandbox is gone. A reader that does not read makes the
    /// program wait, nobody else.
    pub output: mpsc::Receiver<Output>,
    /// What goes in.
    pub input: mpsc::Sender<Input>,
}

/// A running program, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its number.
    pub pid: ProcessId,
    /// What it was started as.
    pub exec: Exec,
}
