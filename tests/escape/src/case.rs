//! An attack as data, and the scene that it plays in.
use crate::hosts::Arrivals;
use crate::outcome::Outcome;
use crate::stage::Stage;
use std::any::Any;
use std::io;
use std::path::PathBuf;

/// The promise of the design that an attack tries to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// A clause is enforced, or the launch is refused.
    P1,
    /// No secret inside.
    P2,
    /// One way out.
    P3,
    /// Nothing unrecorded.
    P4,
    /// Nothing left behind.
    P7,
    /// Nothing lost.
    P8,
}

/// What an attack needs of the host; without it the attack is skipped, and the reason is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A network namespace of the harness's own, with addresses and name servers that it invents.
    World,
    /// The harness runs as root.
    Root,
    /// A program of the host, by absolute path.
    Tool(&'static str),
    /// A knob of the kernel that holds this value.
    Knob(&'static str, &'static str),
    /// Host tools of Qila that read what a run left behind.
    QilaTools,
}

/// One attack.
pub struct Attack {
    /// Its name, unique.
    pub name: &'static str,
    /// What it tries to break.
    pub promise: Promise,
    /// The item of the attack list that it covers.
    pub item: &'static str,
    /// What it needs of the host.
    pub needs: &'static [Need],
    /// Whether a launch refused by clause is an accepted answer here: counted as refused, never as held.
    pub may_refuse: bool,
    /// Builds the scene; `stage.twin` says which of the two.
    pub stage: fn(&mut Stage) -> io::Result<Scene>,
}

/// Where the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the sandbox of the target, under this policy.
    Sandbox(String),
    /// Outside, as the same user.
    Outside,
    /// Outside, as the user of the harness.
    OutsideAsHarness,
}

/// What standard input is.
#[derive(Debug, Clone)]
pub enum Input {
    /// Nothing.
    Null,
    /// A file of the host, opened for reading.
    File(PathBuf),
}

/// Looks at one thing from outside; says what it saw if the attack worked.
pub type Check = Box<dyn Fn(&Outcome) -> Option<String> + Send>;

/// A judge: a check, and whether it rests on evidence from outside the sandbox.
pub struct Judge {
    /// False for the program's own claim.
    pub outside: bool,
    /// The check.
    pub check: Check,
}

/// An allowed request, made in the sandbox before the attack: it must arrive.
pub struct Alive {
    /// Where to.
    pub url: String,
    /// What the listener there received.
    pub arrivals: Arrivals,
    /// What is looked for.
    pub token: String,
}

/// Everything that a run needs, and who judges it.
pub struct Scene {
    /// Where the program runs.
    pub place: Place,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// A command that starts the launcher: it gets the launcher's argument vector appended.
    pub wrap: Vec<String>,
    /// Further flags of the launcher.
    pub flags: Vec<String>,
    /// Working directory of the launcher; the workspace if none.
    pub cwd: Option<PathBuf>,
    /// Standard input.
    pub input: Input,
    /// Standard output goes to this file instead of a pipe.
    pub output: Option<PathBuf>,
    /// Further environment of the launcher.
    pub env: Vec<(String, String)>,
    /// `qila` commands run afterwards; `RUN` stands for the run's id.
    pub after: Vec<Vec<String>>,
    /// How often it is launched: races need several.
    pub launches: usize,
    /// Seconds until it is ended.
    pub seconds: u64,
    /// Whether processes are sampled while it runs.
    pub sample: bool,
    /// Who judges.
    pub judges: Vec<Judge>,
    /// What shows that the way which the attack goes for is open at all: without it a sandbox with a dead gateway would hold.
    pub alive: Option<Alive>,
    /// Listeners, victims and accomplices: they end when the scene does.
    pub keep: Vec<Box<dyn Any>>,
}

impl Scene {
    /// A scene in which `argv` runs at `place`; the program's own claims are believed.
    pub fn new(place: Place, argv: Vec<String>) -> Scene {
        Scene {
            place,
            argv,
            wrap: Vec::new(),
            flags: Vec::new(),
            cwd: None,
            input: Input::Null,
            output: None,
            env: Vec::new(),
            after: Vec::new(),
            launches: 1,
            seconds: 20,
            sample: false,
            alive: None,
            judges: vec![Judge {
                outside: false,
                check: Box::new(Outcome::claim),
            }],
            keep: Vec::new(),
        }
    }

    /// Adds a judge that looks from outside.
    pub fn judge(mut self, check: impl Fn(&Outcome) -> Option<String> + Send + 'static) -> Scene {
        self.judges.push(Judge {
            outside: true,
            check: Box::new(check),
        });
        self
    }

    /// The program's own claims do not count: it prints GOT for what it may do.
    pub fn without_claims(mut self) -> Scene {
        self.judges.retain(|judge| judge.outside);
        self
    }

    /// Succeeds if this text, which only the host knows, comes out.
    pub fn judge_output(self, secret: &str) -> Scene {
        let secret = secret.to_owned();
        self.judge(move |outcome| outcome.shows(&secret).then(|| "the canary came out".to_owned()))
    }

    /// Makes an allowed request first, in the sandbox only; a scene that runs outside stays as it is.
    pub fn alive(mut self, alive: Option<Alive>) -> Scene {
        if let (Place::Sandbox(_), Some(alive)) = (&self.place, alive) {
            let script = "echo ATTEMPT; curl -sk -o /dev/null --max-time 5 \"$0\"; exec \"$@\"";
            let first = ["/bin/sh", "-c", script, &alive.url].map(str::to_owned);
            self.argv.splice(0..0, first);
            self.alive = Some(alive);
        }
        self
    }

    /// Keeps something alive for as long as the scene.
    pub fn keep(mut self, thing: impl Any) -> Scene {
        self.keep.push(Box::new(thing));
        self
    }
}
