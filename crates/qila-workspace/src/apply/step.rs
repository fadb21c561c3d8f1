//! Places between steps, where tests make an apply fail or end.

/// Why an apply does not go on after a step. Outside tests there is no such reason.
pub(crate) enum Halt {
    /// The step after this one fails.
    #[cfg(test)]
    Fail(rustix::io::Errno),
    /// The process ends here: nothing is undone.
    #[cfg(test)]
    Crash,
}

/// Is told of each step.
pub(crate) trait Steps {
    fn reached(&mut self, step: &'static str) -> Result<(), Halt>;
}

/// Goes on.
pub(crate) struct Straight;

impl Steps for Straight {
    fn reached(&mut self, _: &'static str) -> Result<(), Halt> {
        Ok(())
    }
}
