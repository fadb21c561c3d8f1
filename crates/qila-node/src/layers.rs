//! Layers that several lie on: what a sandbox has written until it was forked or kept as a snapshot. A layer that is shared
//! is never written again, and goes when nothing lies on it any more.
use crate::core::Core;
use crate::fault::internal;
use crate::freeze;
use crate::home::make_layer;
use crate::launcher::LauncherError;
use crate::live::Live;
use crate::moving;
use crate::names;
use crate::record::Phase;
use qila_api::{ApiError, Kind, Result};
use qila_sandbox::Restack;
use rustix::fs::renameat;
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};

/// Most layers beneath one home: beyond them, what is shared is put together first.
const DEEPEST: usize = 48;

/// What is known of who lies on layers.
#[derive(Default)]
pub(crate) struct Known {
    /// Layers that a change under way is about to name.
    pins: HashMap<String, u32>,
    /// Every sandbox that is there is known. Not before all were found, nor once the first is forgotten: then nobody can tell
    /// which layers nothing lies on.
    all: bool,
}

/// All sandboxes are known from now on: what none of them lies on goes.
pub(crate) async fn all_known(core: &Arc<Core>) {
    known(core).all = true;
    sweep(core).await;
}

/// Sandboxes are about to be forgotten that go on: no layer is removed any more.
pub(crate) fn keep_all(core: &Core) {
    known(core).all = false;
}

fn known(core: &Core) -> MutexGuard<'_, Known> {
    core.layers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A layer that is about to be named by somebody: not swept until this is dropped.
pub(crate) struct Pin {
    core: Arc<Core>,
    names: Vec<String>,
}

/// The name of a layer, from the path of what is in it.
fn named(path: &str) -> Option<&str> {
    Path::new(path).parent()?.file_name()?.to_str()
}

impl Pin {
    fn new(core: &Arc<Core>, name: &str) -> Pin {
        Pin::all(core, vec![name.to_owned()])
    }

    /// Of a new one, and of what it is to lie on.
    fn over(core: &Arc<Core>, name: &str, lower: &[String]) -> Pin {
        let beneath = lower.iter().filter_map(|p| named(p)).map(str::to_owned);
        Pin::all(core, std::iter::once(name.to_owned()).chain(beneath).collect())
    }

    /// Of everything that somebody is about to lie on.
    pub(crate) fn on(core: &Arc<Core>, lower: &[String]) -> Pin {
        Pin::all(
            core,
            lower.iter().filter_map(|p| named(p)).map(str::to_owned).collect(),
        )
    }

    fn all(core: &Arc<Core>, names: Vec<String>) -> Pin {
        let mut known = known(core);
        for name in &names {
            *known.pins.entry(name.clone()).or_default() += 1;
        }
        drop(known);
        Pin {
            core: core.clone(),
            names,
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut known = known(&self.core);
        for name in &self.names {
            if let Some(n) = known.pins.get_mut(name) {
                *n -= 1;
                if *n == 0 {
                    known.pins.remove(name);
                }
            }
        }
    }
}

/// Makes what a sandbox has written so far something that can be lain on: the layers, the uppermost first. The caller holds
/// the sandbox's `change`, and drops the pin when it has written down who lies on them.
pub(crate) async fn share(core: &Arc<Core>, live: &Arc<Live>) -> Result<(Vec<String>, Pin)> {
    if !live.look(|r| r.layered) {
        return Err(ApiError::new(
            Kind::Refused,
            "the template's policy keeps the home in memory, which cannot be kept or forked",
        )
        .clause("filesystem.workspace")
        .hint("use a template with `filesystem: {workspace: layer}`"));
    }
    let name = names::sandbox()?;
    let name = name.as_str();
    let pin = Pin::over(core, name, &live.look(|r| r.lower.clone()));
    // After the pin: what it lies on is no longer kept by it once it has ended.
    if live.is_ending() {
        return Err(crate::live::gone(&live.id));
    }
    let paused = live.look(|r| r.phase == Phase::Paused);
    if !paused {
        freeze::freeze(live).await?;
    }
    let shared = share_still(core, live, name).await;
    if !paused {
        freeze::go_on(live).await?;
    }
    let record = shared?;
    Ok((record, pin))
}

async fn share_still(core: &Arc<Core>, live: &Arc<Live>, name: &str) -> Result<Vec<String>> {
    let lower = live.look(|r| r.lower.clone());
    if lower.len() < DEEPEST && restack(core, live, name).await? {
        return Ok(live.look(|r| r.lower.clone()));
    }
    // Something in it is in use: its files are copied while they stand still.
    let (again, to, live) = (core.clone(), name.to_owned(), live.clone());
    let copied = tokio::task::spawn_blocking(move || copy(&again, &live, &to));
    copied.await.map_err(|e| internal("copying a layer", &e))??;
    let mut layers = vec![layer(core, name)?];
    layers.extend(lower);
    Ok(layers)
}

fn layer(core: &Core, name: &str) -> Result<String> {
    let path = core.home.layer(name).join("upper");
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| internal("a layer", &"its path is not UTF-8"))
}

/// Moves the layer aside and gives the sandbox a new one over it. False: something in the sandbox uses it.
async fn restack(core: &Arc<Core>, live: &Arc<Live>, name: &str) -> Result<bool> {
    let fail = |e: Errno| internal("moving a layer", &e);
    let mut lower = vec![layer(core, name)?];
    lower.extend(live.look(|r| r.lower.clone()));
    moving::begin(core, live, name, lower.clone()).await?;
    // The old one keeps its inodes wherever it is: nothing that is mounted notices.
    renameat(&live.dir, "layer", &core.home.layers, name).map_err(fail)?;
    let back = |why: ApiError| {
        let _ = qila_workspace::remove_tree(&live.dir, OsStr::new("layer"));
        match renameat(&core.home.layers, name, &live.dir, "layer") {
            Ok(()) => why,
            Err(e) => internal("moving a layer back", &e),
        }
    };
    make_layer(&live.dir).map_err(|e| back(fail(e)))?;
    let mut record = live.record();
    record.lower = lower;
    record.moving = None;
    let own = core.home.sandbox(live.id.as_str()).join("layer");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let wish = Restack {
        target: record.home.clone(),
        lower: record.lower.clone(),
        upper: text(&own.join("upper")),
        work: text(&own.join("work")),
    };
    let (again, held, busy) = (core.clone(), live.clone(), crate::moving::busy(&live.dir).await?);
    let done = tokio::task::spawn_blocking(move || again.launcher.restack(&held.pidfd, &wish, &busy)).await;
    match done.map_err(|e| internal("moving a layer", &e))? {
        Ok(()) => {
            // So it is, whether that can be written down or not: the next start sees it by the mount.
            live.put(record.clone());
            core.save(live, record).await?;
            Ok(true)
        }
        Err(LauncherError::InUse) => {
            qila_workspace::remove_tree(&live.dir, OsStr::new("layer"))
                .map_err(|e| internal("moving a layer back", &e))?;
            renameat(&core.home.layers, name, &live.dir, "layer").map_err(fail)?;
            moving::forget(core, live).await?;
            Ok(false)
        }
        Err(e) => {
            let why = back(internal("giving a sandbox another layer", &e));
            moving::forget(core, live).await?;
            Err(why)
        }
    }
}

fn copy(core: &Core, live: &Live, name: &str) -> Result<()> {
    let done = qila_workspace::copy_tree(
        &live.dir,
        Path::new("layer/upper"),
        &core.home.layers,
        name,
        "upper",
    );
    done.map(drop).map_err(|e| {
        let _ = qila_workspace::remove_tree(&core.home.layers, OsStr::new(name));
        match e.errno() {
            Errno::NOSPC | Errno::DQUOT => ApiError::new(Kind::NoSpace, "the node's disk is full"),
            _ => internal("copying a layer", &e),
        }
    })
}

/// Gives a sandbox whose programs have ended other files.
pub(crate) async fn replace(core: &Arc<Core>, live: &Arc<Live>, lower: Vec<String>) -> Result<()> {
    let fail = |e: Errno| internal("moving a layer", &e);
    let aside = names::sandbox()?;
    let _pin = Pin::new(core, aside.as_str());
    moving::begin(core, live, aside.as_str(), lower.clone()).await?;
    renameat(&live.dir, "layer", &core.home.layers, aside.as_str()).map_err(fail)?;
    make_layer(&live.dir).map_err(fail)?;
    let own = core.home.sandbox(live.id.as_str()).join("layer");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut record = live.record();
    record.lower = lower;
    record.moving = None;
    let wish = Restack {
        target: record.home.clone(),
        lower: record.lower.clone(),
        upper: text(&own.join("upper")),
        work: text(&own.join("work")),
    };
    // What a killed program had open is let go a moment after it is gone.
    for attempt in 0..100u32 {
        let (again, held, wish) = (core.clone(), live.clone(), wish.clone());
        let busy = crate::moving::busy(&live.dir).await?;
        let done =
            tokio::task::spawn_blocking(move || again.launcher.restack(&held.pidfd, &wish, &busy)).await;
        match done.map_err(|e| internal("giving a sandbox another layer", &e))? {
            Ok(()) => {
                live.put(record.clone()); // whether it can be written down or not
                return core.save(live, record).await;
            }
            Err(LauncherError::InUse) if attempt < 99 => {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                // One that was mounted without being synced to the disk is not mounted again.
                qila_workspace::remove_tree(&live.dir, OsStr::new("layer"))
                    .map_err(|e| internal("moving a layer", &e))?;
                make_layer(&live.dir).map_err(fail)?;
            }
            Err(e) => {
                let _ = qila_workspace::remove_tree(&live.dir, OsStr::new("layer"));
                renameat(&core.home.layers, aside.as_str(), &live.dir, "layer").map_err(fail)?;
                moving::forget(core, live).await?;
                return Err(internal("giving a sandbox another layer", &e));
            }
        }
    }
    Err(internal("giving a sandbox another layer", &"it stays in use"))
}

/// Removes layers that nothing lies on.
pub(crate) async fn sweep(core: &Arc<Core>) {
    let core = core.clone();
    let done = tokio::task::spawn_blocking(move || sweep_now(&core)).await;
    if let Err(e) = done {
        eprintln!("qila: removing layers: {e}");
    }
}

fn sweep_now(core: &Core) {
    let Ok(entries) = std::fs::read_dir(core.home.path.join(crate::home::LAYERS)) else {
        return;
    };
    let names: Vec<String> = entries
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    if names.is_empty() {
        return;
    }
    // Held while it is looked who lies on what: a layer is handed on under a pin, which is taken while the one who hands it on is
    // still to be seen, and dropped when the other one is.
    let known = known(core);
    if !known.all {
        return;
    }
    let mut used: HashSet<String> = known.pins.keys().cloned().collect();
    let mut add = |lower: &[String]| {
        used.extend(lower.iter().filter_map(|p| named(p)).map(str::to_owned));
    };
    let mut all = core.all();
    let dying = core.dying.lock().unwrap_or_else(PoisonError::into_inner);
    all.extend(dying.values().cloned());
    drop(dying);
    for live in all {
        live.look(|r| {
            add(&r.lower);
            if let Some(moving) = &r.moving {
                add(&moving.lower);
                add(&[format!("{}/upper", moving.name)]);
            }
        });
    }
    for snap in core
        .snapshots
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .values()
    {
        add(&snap.lower);
    }
    for template in core
        .templates
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        add(&template.lower);
    }
    drop(known);
    for name in names.iter().filter(|n| !used.contains(*n)) {
        if let Err(e) = qila_workspace::remove_tree(&core.home.layers, OsStr::new(name)) {
            eprintln!("qila: removing layer {name}: {e}");
        }
    }
}
