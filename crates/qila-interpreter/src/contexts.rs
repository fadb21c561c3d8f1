//! Contexts: in each, cells run one after another, and what one leaves the next finds.
use crate::Interpret;
use crate::cell::{Cell, Listener, Said};
use crate::driver::{Driver, Kind};
use crate::kernel::Kernel;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
}

/// A context.
pub(crate) struct Context {
    pub id: String,
    pub language: Language,
    pub cwd: PathBuf,
    engine: tokio::sync::Mutex<Engine>,
    waiting: AtomicUsize,
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

fn random() -> String {
    let mut bytes = [0u8; 16];
    // Names have to differ, no more; without random bits they are all one, which is refused.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
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
        self.add(random(), known, cwd)
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
    pub(crate) async fn run(
        &self,
        context: &Context,
        cell: &Cell,
        to: &mut Listener,
    ) -> Result<(), ContextError> {
        let _turn = Turn::take(&context.waiting)?;
        let mut engine = context.engine.lock().await;
        if matches!(*engine, Engine::Ended) {
            let note = "the interpreter of this context had ended: this cell runs in a new one, without what earlier cells left\n";
            let _ = to.say(Said::Stderr(note.into())).await; // gone or not is seen by what follows
        }
        if matches!(*engine, Engine::None | Engine::Ended) {
            *engine = match self.start(context).await {
                Ok(engine) => engine,
                Err(why) => {
                    let _ = to.say(Said::failure("ContextError", why)).await;
                    return Ok(());
                }
            };
        }
        let ended = match &mut *engine {
            Engine::Kernel(kernel) => kernel.run(cell, to).await.err().map(|e| e.to_string()),
            Engine::Driver(driver) => driver.run(cell, to).await.err().map(|e| e.to_string()),
            Engine::None | Engine::Ended => None,
        };
        if let Some(why) = ended {
            *engine = Engine::Ended;
            let _ = to.say(Said::failure("ContextEnded", why)).await;
        }
        Ok(())
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

    /// Gives a context a new interpreter.
    pub(crate) async fn restart(&self, context: &Context) -> Result<(), String> {
        let mut engine = context.engine.lock().await;
        *engine = Engine::None;
        *engine = self.start(context).await?;
        Ok(())
    }
}

/// A place in the queue of a context.
struct Turn<'a>(&'a AtomicUsize);

impl<'a> Turn<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Turn<'a>, ContextError> {
        if waiting.fetch_add(1, Ordering::SeqCst) >= WAITING {
            waiting.fetch_sub(1, Ordering::SeqCst);
            return Err(ContextError::Busy);
        }
        Ok(Turn(waiting))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
