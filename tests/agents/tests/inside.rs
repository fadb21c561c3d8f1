//! Unmodified agents finish their task inside, with a key that nothing inside ever holds: every agent, both tiers, as
//! root and as an ordinary user.
#![forbid(unsafe_code)]
use qila_agents::agent::Agent;
use qila_agents::host::Mode;
use qila_agents::scenario::works_inside;

macro_rules! inside {
    ($($agent_name:ident: $agent:expr;)*) => {$(
        mod $agent_name {
            use super::*;

            fn check(tier: &str, mode: Mode) {
                let name = format!("{} in the {tier} tier, {mode:?}", stringify!($agent_name));
                works_inside($agent, tier, mode).unwrap_or_else(|s| s.report(&name));
            }

            #[test]
            fn process_root() {
                check("process", Mode::Root);
            }

            #[test]
            fn process_unprivileged() {
                check("process", Mode::Unprivileged);
            }

            #[test]
            fn container_root() {
                check("container", Mode::Root);
            }

            #[test]
            fn container_unprivileged() {
                check("container", Mode::Unprivileged);
            }

            /// Where `runsc` is; an ordinary user needs delegated cgroups there, for the memory.
            #[test]
            fn gvisor_root() {
                if qila_agents::host::has_tier("gvisor") {
                    check("gvisor", Mode::Root);
                } else {
                    let name = format!("{} in the gvisor tier", stringify!($agent_name));
                    qila_agents::skip::Skip::because("there is no `runsc` that works on this host").report(&name);
                }
            }
        }
    )*};
}

inside! {
    mini_swe_agent: Agent::MiniSweAgent;
    pi: Agent::Pi;
    smoke: Agent::Smoke;
}
