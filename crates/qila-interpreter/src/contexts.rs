//! Contexts: in each, cells run one after another, and what one leaves the next finds.
use crate::Interpret;
use crate::cell::{Cell, Listener, Said};
use crate::driver::{Driver, Kind};
use crate::kernel::Kernel;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Most contexts at once.
const MOST: usize = 64;
/// Most cells that wait for their turn in one context.
const WAITING: usize = 32;
/// Name of the Python context that cells run in that name none.
const DEFAULT: &str = "default";

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// Python.
    Python,
    /// JavaScript.
    JavaScript,
    /// bash.
    Bash,
}

impl Language {
    /// By any of its usual names.
    pub fn parse(text: &str) -> Option<Language> {
        Some(match text.to_ascii_lowercase().as_str() {
            "" | "python" | "python3" | "py" => Language::Python,
            "javascript" | "js" | "node" => Language::JavaScript,
            "bash" | "sh" | "shell" => Language::Bash,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::JavaScript => "javascript",
            Language::Bash => "bash",
        }
    }
}

/// Why a context cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContextError {
    #[error("there is no context `{0}`")]
    Unknown(String),
    #[error("`{0}` is no language here: python, javascript and bash are")]
    Language(String),
    #[error("there are {MOST} contexts, the most that may be")]
    Full,
    #[error("{WAITING} cells wait for their turn in this context already")]
    Busy,
    #[error("the directory {0} is not there")]
    Directory(String),
    #[error("there are no random bits for its name")]
    Random,
}

/// A context.
pub(crate) struct Context {
    pub id: String,
    pub language: Language,
    pub cwd: PathBuf,
    engine: tokio::sync::Mutex<Engine>,
    waiting: AtomicUsize,
    /// Changed when what runs or waits in it is to end.
    stops: watch::Sender<Stop>,
}

/// Why what runs or waits in a context is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Restarted,
    Removed,
}

impl Stop {
    fn why(self) -> &'static str {
        match self {
            Stop::Removed => "its context was removed",
            Stop::No | Stop::Restarted => "its context was restarted",
        }
    }
}

/// What runs the cells of a context.
enum Engine {
    /// Nothing yet.
    None,
    /// It ended by itself, which the next cell is told.
    Ended,
    Kernel(Box<Kernel>),
    Driver(Box<Driver>),
}

/// All contexts.
pub(crate) struct Contexts {
    with: Interpret,
    all: Mutex<HashMap<String, Arc<Context>>>,
}

fn random() -> Result<String, ContextError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| ContextError::Random)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

impl Contexts {
    pub(crate) fn new(with: Interpret) -> Contexts {
        Contexts {
            with,
            all: Mutex::default(),
        }
    }

    fn add(&self, id: String, language: Language, cwd: PathBuf) -> Result<Arc<Context>, ContextError> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = all.get(&id) {
            return Ok(there.clone());
        }
        if all.len() >= MOST {
            return Err(ContextError::Full);
        }
        let made = Arc::new(Context {
            id: id.clone(),
            language,
            cwd,
            engine: tokio::sync::Mutex::new(Engine::None),
            waiting: AtomicUsize::new(0),
            stops: watch::Sender::new(Stop::No),
        });
        all.insert(id, made.clone());
        Ok(made)
    }

    /// Makes one.
    pub(crate) fn make(&self, language: &str, cwd: Option<&str>) -> Result<Arc<Context>, ContextError> {
        let known = Language::parse(language)
            .ok_or_else(|| ContextError::Language(language.chars().take(40).collect()))?;
        let cwd = cwd.map_or_else(|| self.with.home.clone(), |dir| self.with.home.join(dir));
        if !cwd.is_dir() {
            return Err(ContextError::Directory(cwd.display().to_string()));
        }
        self.add(random()?, known, cwd)
    }

    /// The one that is meant: by id, else the default one of a language.
    pub(crate) fn find(
        &self,
        id: Option<&str>,
        language: Option<&str>,
    ) -> Result<Arc<Context>, ContextError> {
        match id {
            Some(id) => {
                let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
                all.get(id)
                    .cloned()
                    .ok_or_else(|| ContextError::Unknown(id.chars().take(64).collect()))
            }
            None => {
                let wanted = language.unwrap_or("python");
                let known = Language::parse(wanted)
                    .ok_or_else(|| ContextError::Language(wanted.chars().take(40).collect()))?;
                let id = match known {
                    Language::Python => DEFAULT.to_owned(),
                    other => format!("{DEFAULT}-{}", other.name()),
                };
                self.add(id, known, self.with.home.clone())
            }
        }
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<Arc<Context>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> = all.values().cloned().collect();
        list.sort_by(|a, b| a.id.cmp(&b.id));
        list
    }

    /// Removes one; what runs in it ends.
    pub(crate) fn remove(&self, id: &str) -> Result<(), ContextError> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = all
            .remove(id)
            .ok_or_else(|| ContextError::Unknown(id.chars().take(64).collect()))?;
        drop(all);
        gone.stops.send_replace(Stop::Removed);
        tokio::spawn(async move { *gone.engine.lock().await = Engine::None });
        Ok(())
    }

    /// Begins the default Python context before it is asked for.
    pub(crate) async fn warm(&self) {
        let Ok(context) = self.find(None, None) else {
            return;
        };
        let mut engine = context.engine.lock().await;
        if matches!(*engine, Engine::None)
            && let Ok(kernel) = Kernel::start(&self.with.python, &context.cwd).await
        {
            *engine = Engine::Kernel(Box::new(kernel)); // if not, the first cell says why
        }
    }

    /// Runs a cell in a context, after those that came before it.
    pub(crate) async fn run(&self, turn: &Turn, cell: &Cell, to: &mut Listener) {
        let context = turn.context.clone();
        let mut stops = turn.stops.clone();
        let mut engine = tokio::select! {
            biased;
            stop = stopped(&mut stops) => {
                let _ = to.say(Said::failure("ContextEnded", stop.why())); // gone or not, it is not run
                return;
            }
            () = to.gone() => return,
            engine = context.engine.lock() => engine,
        };
        if to.is_gone() {
            return;
        }
        let ended = tokio::select! {
            biased;
            stop = stopped(&mut stops) => {
                *engine = Engine::None;
                let _ = to.say(Said::failure("ContextEnded", stop.why())); // gone or not, it has ended
                return;
            }
            ended = self.turn(&context, &mut engine, cell, to) => ended,
        };
        if let Some(why) = ended {
            *engine = Engine::Ended;
            let _ = to.say(Said::failure("ContextEnded", why)); // gone or not, the next cell is told
        }
    }

    /// Runs a cell whose turn it is; answers why the interpreter ended, if it did.
    async fn turn(
        &self,
        context: &Context,
        engine: &mut Engine,
        cell: &Cell,
        to: &mut Listener,
    ) -> Option<String> {
        if matches!(*engine, Engine::Ended) {
            let note = "the interpreter of this context had ended: this cell runs in a new one, without what earlier cells left\n";
            let _ = to.say(Said::Stderr(note.into())); // gone or not is seen by what follows
        }
        if matches!(*engine, Engine::None | Engine::Ended) {
            *engine = match self.start(context).await {
                Ok(engine) => engine,
                Err(why) => {
                    let _ = to.say(Said::failure("ContextError", why)); // gone or not, it is not run
                    return None;
                }
            };
        }
        match engine {
            Engine::Kernel(kernel) => kernel.run(cell, to).await.err().map(|e| e.to_string()),
            Engine::Driver(driver) => driver.run(cell, to).await.err().map(|e| e.to_string()),
            Engine::None | Engine::Ended => None,
        }
    }

    async fn start(&self, context: &Context) -> Result<Engine, String> {
        let driver = |kind| {
            Driver::start(kind, &context.cwd)
                .map(|d| Engine::Driver(Box::new(d)))
                .map_err(|e| e.to_string())
        };
        match context.language {
            Language::Python => {
                let kernel = Kernel::start(&self.with.python, &context.cwd).await;
                kernel
                    .map(|k| Engine::Kernel(Box::new(k)))
                    .map_err(|e| e.to_string())
            }
            Language::JavaScript => driver(Kind::JavaScript),
            Language::Bash => driver(Kind::Bash),
        }
    }

    /// Gives a context a new interpreter. What ran or waited in it ends.
    pub(crate) async fn restart(&self, context: &Context) -> Result<(), String> {
        context.stops.send_modify(|stop| {
            if *stop != Stop::Removed {
                *stop = Stop::Restarted;
            }
        });
        let mut stops = context.stops.subscribe();
        let mut engine = context.engine.lock().await;
        if *stops.borrow_and_update() == Stop::Removed {
            return Err(Stop::Removed.why().to_owned());
        }
        *engine = Engine::None;
        tokio::select! {
            started = self.start(context) => *engine = started?,
            stop = stopped(&mut stops) => if stop == Stop::Removed {
                return Err(stop.why().to_owned());
            }, // another restart comes after this one, and makes the context what it is to be
        }
        Ok(())
    }
}

/// Until what runs is to end, and why.
async fn stopped(stops: &mut watch::Receiver<Stop>) -> Stop {
    match stops.changed().await {
        Ok(()) => *stops.borrow_and_update(),
        Err(_) => Stop::Removed, // whoever could say so has gone with the context
    }
}

/// A place in the queue of a context.
pub(crate) struct Turn {
    context: Arc<Context>,
    stops: watch::Receiver<Stop>,
}

impl Turn {
    /// Takes the last one.
    pub(crate) fn take(context: Arc<Context>) -> Result<Turn, ContextError> {
        let mut stops = context.stops.subscribe();
        if *stops.borrow_and_update() == Stop::Removed {
            return Err(ContextError::Unknown(context.id.clone()));
        }
        // One of them runs.
        if context.waiting.fetch_add(1, Ordering::SeqCst) > WAITING {
            context.waiting.fetch_sub(1, Ordering::SeqCst);
            return Err(ContextError::Busy);
        }
        Ok(Turn { context, stops })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.context.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
