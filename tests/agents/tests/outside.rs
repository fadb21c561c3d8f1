//! The agents without any sandbox: the twins of `inside.rs`, which show that project, script and server are sound.
#![forbid(unsafe_code)]
use qila_agents::agent::Agent;
use qila_agents::scenario::{placeholder_fails_outside, works_outside};

macro_rules! outside {
    ($($name:ident: $agent:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn finishes_its_task() {
                works_outside($agent).unwrap_or_else(|s| s.report(concat!(stringify!($name), " outside")));
            }

            #[test]
            fn gets_nowhere_with_a_placeholder() {
                placeholder_fails_outside($agent)
                    .unwrap_or_else(|s| s.report(concat!(stringify!($name), " with a placeholder")));
            }
        }
    )*};
}

outside! {
    mini_swe_agent: Agent::MiniSweAgent;
    pi: Agent::Pi;
    smoke: Agent::Smoke;
}
