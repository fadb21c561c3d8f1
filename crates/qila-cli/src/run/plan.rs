//! From a policy to a plan for this host and caller.
use crate::fail::Fail;
use qila_plan::{Caller, Plan, Refusal, Request, Unpacked, choose, wanted_paths};
use qila_policy::Permit;
use qila_policy::model::{Base, WorkspaceMode};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What is not in the policy.
pub(crate) struct Wish<'a> {
    pub argv: Vec<Vec<u8>>,
    pub workspace: Option<PathBuf>,
    pub run: String,
    pub run_dir: PathBuf,
    pub home_dir: PathBuf,
    /// Whether an image is unpacked if it is the base; else nothing is known of what is in it.
    pub unpack: bool,
    pub terminal: Option<qila_wire::Size>,
    pub allow_unenforced: &'a [String],
    /// Variables that hold a placeholder instead of a credential.
    pub placeholders: &'a [(String, String)],
}

/// The caller's home directory, resolved.
pub(crate) fn home() -> Result<Option<String>, Fail> {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .filter(|h| h.is_absolute());
    let home = home.map(|h| std::fs::canonicalize(&h).unwrap_or(h));
    home.as_deref().map(text).transpose()
}

/// The plan.
pub(crate) fn make(permit: &Permit, wish: Wish<'_>) -> Result<Plan, Fail> {
    let home = home()?;
    let workspace = wish.workspace.as_deref().map(text).transpose()?;
    let cwd =
        std::env::current_dir().map_err(|e| Fail::new(format!("the current directory is gone: {e}")))?;
    let cwd = match &wish.workspace {
        Some(dir) if !cwd.starts_with(dir) => text(dir)?,
        Some(_) => text(&cwd)?,
        None => "/tmp".to_owned(),
    };
    let paths = wanted_paths(permit, home.as_deref(), workspace.as_deref());
    let mut unpacked = None;
    let base = match &permit.policy().filesystem.base {
        Base::Host => PathBuf::from("/"),
        Base::Directory(path) => path
            .resolve(home.as_deref(), workspace.as_deref())
            .map(PathBuf::from)
            .unwrap_or_default(),
        Base::OciLayout(path) => {
            let layout = path.resolve(home.as_deref(), workspace.as_deref());
            let layout = layout.unwrap_or_default();
            let (lower, path) = match wish.unpack {
                true => image(&layout, &wish.home_dir)?,
                false => (vec![PathBuf::from(layout)], None),
            };
            let root = lower.first().cloned().unwrap_or_default();
            let lower = lower.iter().map(|l| text(l)).collect::<Result<Vec<_>, _>>()?;
            unpacked = Some(Unpacked {
                root: text(&root)?,
                lower: if lower.len() > 1 { lower } else { Vec::new() },
                path,
            });
            root
        }
    };
    let mut storage: Vec<&Path> = vec![&wish.home_dir];
    storage.extend(wish.workspace.as_deref());
    let fs = &permit.policy().filesystem;
    let resolved = fs
        .write
        .iter()
        .filter_map(|p| p.resolve(home.as_deref(), workspace.as_deref()));
    let mut writable: Vec<String> = resolved.collect();
    writable.extend(
        workspace
            .iter()
            .filter(|_| fs.workspace == WorkspaceMode::Direct)
            .cloned(),
    );
    let facts = qila_host::collect(&qila_host::Look {
        base: &base,
        paths: &paths,
        unpacked: unpacked.as_ref(),
        writable: &writable,
        storage: &storage,
    })
    .map_err(unsearched)?;
    let caller = Caller {
        argv: wish.argv,
        env: std::env::vars_os()
            .map(|(n, v)| (n.into_vec(), v.as_bytes().to_vec()))
            .collect(),
        cwd,
        home,
        workspace,
        run_dir: text(&wish.run_dir)?,
        run: wish.run,
        terminal: wish.terminal,
        seat: None,
    };
    let request = Request {
        permit,
        facts: &facts,
        caller: &caller,
        placeholders: wish.placeholders,
        allow_unenforced: wish.allow_unenforced,
    };
    choose(&qila_backends::capabilities(), &request)
        .map(|c| c.plan)
        .map_err(|r| refused(&r))
}

/// Unpacks the image of a layout, which may be followed by a colon and the image's name, or finds it unpacked: its layers, the
/// uppermost first, and its own `PATH`.
fn image(named: &str, home: &Path) -> Result<(Vec<PathBuf>, Option<String>), Fail> {
    let (layout, name) = match named.rsplit_once(':') {
        Some((layout, name)) if !Path::new(named).exists() => (layout, Some(name)),
        _ => (named, None),
    };
    qila_image::Store::open(&home.join("images"), qila_image::Limits::default())
        .and_then(|store| store.layout(Path::new(layout), name))
        .map(|image| (image.lower.clone(), image.config.path().map(str::to_owned)))
        .map_err(|e| {
            Fail::new(format!("refused: filesystem.base: {}", crate::fail::chain(&e)))
                .hint("give the path of an OCI image layout, such as `skopeo copy docker://NAME oci:PATH` makes")
                .clause("filesystem.base")
        })
}

/// A plan that nothing will execute, for explanations.
pub(crate) fn dry(permit: &Permit) -> Result<Plan, Fail> {
    let workspace = std::env::current_dir().ok();
    make(
        permit,
        Wish {
            argv: vec![b"true".to_vec()],
            workspace,
            run: "dry".into(),
            run_dir: "/nonexistent".into(),
            home_dir: "/".into(),
            unpack: false,
            terminal: None,
            allow_unenforced: &[],
            placeholders: &[],
        },
    )
}

fn unsearched(error: qila_host::HostError) -> Fail {
    Fail::new(format!(
        "refused: filesystem.write: {}",
        crate::fail::chain(&error)
    ))
    .hint("make it readable, name a smaller directory, or let the agent have the workspace through a layer")
    .clause("filesystem.write")
}

fn refused(refusal: &Refusal) -> Fail {
    let mut hint = refusal.fix.clone();
    if let Some(tier) = refusal.nearest {
        let also = format!("--isolation {tier}");
        hint = if hint.is_empty() {
            also
        } else {
            format!("{hint}; or {also}")
        };
    }
    Fail::new(format!("refused: {refusal}"))
        .hint(hint)
        .clause(refusal.clause.as_str())
}

pub(crate) fn text(path: &Path) -> Result<String, Fail> {
    let text = path
        .to_str()
        .ok_or_else(|| Fail::new(format!("the path {} is not UTF-8", path.display())))?;
    Ok(text.to_owned())
}
