//! Templates: read, checked and planned for once, so that a creation only fills in what is its own.
use crate::fault::{internal, refused};
use crate::home::Home;
use crate::ledger::Need;
use crate::narrow::narrow;
use qila_api::{ApiError, Kind, NetworkWish, Result, Source, Template, Tenant};
use qila_gateway::Rewrite;
use qila_host::Look;
use qila_image::Layered;
use qila_plan::{Caller, CgroupFacts, HostFacts, Plan, Request, Seat, Unpacked, choose, wanted_paths};
use qila_policy::model::Base;
use qila_policy::{Bundle, Constitution, NoFiles, Permit, Policy, preset};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Name of the template that is there without being made.
pub(crate) const BASE: &str = "base";
/// Home directory inside.
pub(crate) const HOME: &str = "/home/user";
/// Where the program is that runs cells of code, inside.
pub(crate) const INTERPRETER: &str = "/run/qila/interpreter";
/// Largest policy of a template in bytes.
const MAX_POLICY: usize = 256 * 1024;

/// What a sandbox without a limit of its own counts for.
const CPU_MILLI: u64 = 1000;
const MEMORY_MIB: u64 = 1024;
const DISK_MIB: u64 = 2048;

/// A template that sandboxes can be made from.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub template: Template,
    /// Tells it from every other that this process has prepared, of the same name too.
    pub number: u64,
    /// Whose it is; none: everyone's.
    pub owner: Option<Tenant>,
    /// Its policy and the optional credentials that are left out.
    pub rules: Rewrite,
    /// The same, granted.
    pub permit: Arc<Permit>,
    pub digest: String,
    /// What its home lies on, the uppermost first.
    pub lower: Vec<String>,
    pub need: Need,
    /// What its image wants in the environment, `PATH` apart.
    pub words: Vec<(String, String)>,
    pub root: Root,
    /// Its image, which stays as long as this does.
    pub image: Option<Arc<Layered>>,
    facts: HostFacts,
    storage: PathBuf,
}

/// What of a plan is one sandbox's own.
pub(crate) struct Place<'a> {
    pub id: &'a str,
    /// Its directory on the host.
    pub dir: &'a Path,
    /// What its home lies on, the uppermost first.
    pub lower: &'a [String],
    /// The program that runs cells of code, on the host.
    pub interpreter: Option<&'a Path>,
    /// Variables that hold a placeholder.
    pub placeholders: &'a [(String, String)],
    /// Where its cgroups are made, if not where the node's are.
    pub cgroups: Option<CgroupFacts>,
}

/// The policy of a template: the name of a built-in one, or a text.
pub(crate) fn bundle(text: &str) -> Result<(Policy, Bundle)> {
    if text.len() > MAX_POLICY {
        return Err(ApiError::invalid(format!("a policy may have {MAX_POLICY} bytes")).clause("policy"));
    }
    let named = !text.contains('\n') && preset::find(text.trim()).is_some();
    let text = match named {
        true => format!("version: {}\nextends: {}\n", qila_policy::VERSION, text.trim()),
        false => text.to_owned(),
    };
    Bundle::gather("policy.yaml", &text, &mut NoFiles)
        .map_err(|e| ApiError::invalid(e.to_string().trim_end().to_owned()).clause("policy"))
}

/// SHA-256 of a resolved policy, in hexadecimal.
pub(crate) fn digest(policy: &Policy) -> String {
    let digest = Sha256::digest(qila_policy::canonical(policy));
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

fn need(policy: &Policy) -> Need {
    let r = &policy.resources;
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Need {
        cpu_milli: r.cpu.map_or(CPU_MILLI, |c| u64::from(c.0)),
        memory_mib: r.memory.map_or(MEMORY_MIB, |m| mib(m.bytes.0)),
        disk_mib: r.disk.map_or(DISK_MIB, |d| mib(d.bytes.0)),
    }
}

/// Where the system directories of sandboxes come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Root {
    /// The host's own.
    Host,
    /// A directory of the host.
    Directory(String),
    /// An image, by its digest.
    Image(String),
}

/// How many were prepared so far.
static PREPARED: AtomicU64 = AtomicU64::new(0);

/// What is not in a template.
#[derive(Debug)]
pub(crate) struct Around<'a> {
    pub home: &'a Home,
    /// `$QILA_HOME`.
    pub state: &'a Path,
    /// Home directory of whoever runs the node, for files of credentials.
    pub user_home: Option<&'a str>,
    /// Layers that a snapshot stands for.
    pub snapshot: Option<Vec<String>>,
    /// Its base, or that of its snapshot's template.
    pub root: Root,
    /// The image, if that is one.
    pub image: Option<Arc<Layered>>,
}

/// Reads the policy of a template and looks at what the host has for it.
pub(crate) fn prepare(template: Template, owner: Option<Tenant>, around: &Around<'_>) -> Result<Prepared> {
    let (policy, bundle) = bundle(&template.policy)?;
    let absent: BTreeSet<String> = policy
        .credentials
        .iter()
        .filter(|c| !qila_gateway::available(c, around.user_home, None))
        .map(|c| c.name.clone())
        .collect();
    let rules = Rewrite {
        policy: bundle,
        absent,
    };
    let mut policy = policy
        .without_credentials(&rules.absent)
        .map_err(|e| ApiError::new(Kind::Refused, e.to_string()).clause("credentials"))?;
    let lower = match (&around.snapshot, &template.files) {
        (Some(layers), _) => layers.clone(),
        (None, Some(files)) => vec![directory(files)?],
        (None, None) => vec![around.home.empty()],
    };
    let mut base = PathBuf::from("/");
    let mut unpacked = None;
    match &around.root {
        Root::Host => {}
        Root::Directory(path) => {
            base = directory(path)?.into();
            policy.filesystem.base = Base::Directory(qila_policy::model::PolicyPath(
                base.to_string_lossy().into_owned(),
            ));
        }
        Root::Image(_) => {
            let image = around
                .image
                .as_deref()
                .ok_or_else(|| ApiError::new(Kind::Conflict, "the template's image is not there yet"))?;
            let text = |path: &PathBuf| path.to_string_lossy().into_owned();
            let layers: Vec<String> = image.lower.iter().map(text).collect();
            let root = layers
                .first()
                .cloned()
                .ok_or_else(|| ApiError::invalid("the image has no layers").clause("template.source"))?;
            policy.filesystem.base = Base::OciLayout(qila_policy::model::PolicyPath(root.clone()));
            base = PathBuf::from(&root);
            unpacked = Some(Unpacked {
                root,
                lower: if layers.len() > 1 { layers } else { Vec::new() },
                path: image.config.path().map(str::to_owned),
            });
        }
    }
    let permit = Permit::grant(policy, &Constitution::default())
        .map_err(|e| ApiError::new(Kind::Refused, e.to_string()).clause("constitution"))?;
    let facts = qila_host::collect(&Look {
        base: &base,
        paths: &wanted_paths(&permit, None, None),
        unpacked: unpacked.as_ref(),
        writable: &[],
        storage: &[around.state],
    })
    .map_err(|e| internal("looking at the host", &e))?;
    let (digest, need) = (digest(permit.policy()), need(permit.policy()));
    let prepared = Prepared {
        template,
        number: PREPARED.fetch_add(1, Ordering::Relaxed),
        owner,
        rules,
        permit: Arc::new(permit),
        digest,
        lower,
        need,
        words: around.image.as_deref().map(words).unwrap_or_default(),
        root: around.root.clone(),
        image: around.image.clone(),
        facts,
        storage: around.state.to_owned(),
    };
    // What no tier here can enforce is said now, not to whoever asks for a sandbox first.
    let dry = Place {
        id: "dry",
        dir: &prepared.storage,
        lower: &prepared.lower,
        interpreter: None,
        placeholders: &[],
        cgroups: None,
    };
    prepared.plan(&prepared.permit, dry)?;
    Ok(prepared)
}

/// What an image wants in the environment. Where its programs are the plan sees to, and the home is the sandbox's own.
fn words(image: &Layered) -> Vec<(String, String)> {
    let split = image.config.env.iter().filter_map(|v| v.split_once('='));
    let own = split.filter(|(name, _)| {
        !matches!(*name, "PATH" | "HOME") && !name.is_empty() && !name.starts_with("QILA_")
    });
    own.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A directory of the host, resolved.
fn directory(path: &str) -> Result<String> {
    let wrong = |why: String| ApiError::invalid(format!("`{path}` is not a directory of this host: {why}"));
    let real = std::fs::canonicalize(path).map_err(|e| wrong(e.to_string()))?;
    if !real.is_dir() {
        return Err(wrong("it is a file".into()));
    }
    real.to_str()
        .map(str::to_owned)
        .ok_or_else(|| wrong("its path is not UTF-8".into()))
}

impl Prepared {
    /// Whether a tenant may make sandboxes of it.
    pub(crate) fn is_open_to(&self, tenant: &Tenant) -> bool {
        self.template.public || self.owner.as_ref().is_none_or(|owner| owner == tenant)
    }

    /// Whether it is meant by this name.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.template.id == name || self.template.names.iter().any(|n| n == name)
    }

    /// What a sandbox with this wish may do.
    pub(crate) fn permit(&self, wish: &NetworkWish) -> Result<Arc<Permit>> {
        if *wish == NetworkWish::default() {
            return Ok(self.permit.clone());
        }
        let mut policy = self.permit.policy().clone();
        narrow(&mut policy, wish)?;
        Permit::grant(policy, &Constitution::default())
            .map(Arc::new)
            .map_err(|e| ApiError::new(Kind::Refused, e.to_string()).clause("constitution"))
    }

    /// The plan of one sandbox.
    pub(crate) fn plan(&self, permit: &Permit, place: Place<'_>) -> Result<Plan> {
        let Place {
            id,
            dir,
            lower,
            interpreter,
            placeholders,
            cgroups,
        } = place;
        let text = |path: &Path| {
            let text = path.to_str().map(str::to_owned);
            text.ok_or_else(|| internal("the node's directory", &"its path is not UTF-8"))
        };
        let programs = interpreter.map(|path| Ok::<_, ApiError>((text(path)?, INTERPRETER.to_owned())));
        let caller = Caller {
            argv: Vec::new(),
            env: Vec::new(),
            cwd: HOME.into(),
            home: None,
            workspace: None,
            run_dir: text(dir)?,
            run: id.into(),
            terminal: None,
            seat: Some(Seat {
                home: HOME.into(),
                lower: lower.to_vec(),
                programs: programs.transpose()?.into_iter().collect(),
            }),
        };
        let facts = match cgroups {
            Some(cgroups) => HostFacts {
                cgroups,
                ..self.facts.clone()
            },
            None => self.facts.clone(),
        };
        let request = Request {
            permit,
            facts: &facts,
            caller: &caller,
            placeholders,
            allow_unenforced: &[],
        };
        choose(&qila_backends::capabilities(), &request)
            .map(|chosen| chosen.plan)
            .map_err(|refusal| refused(&refusal))
    }
}

/// The template that is there without being made.
pub(crate) fn base() -> Template {
    Template {
        host_login: false,
        id: BASE.into(),
        names: vec!["default".into(), "code-interpreter-v1".into()],
        public: true,
        source: Source::Host,
        files: None,
        policy: include_str!("base.yaml").into(),
        start: None,
        ready: None,
        pool: 0,
        zygote: None,
        timeout_s: 300,
        state: qila_api::TemplateState::Ready,
        made_ms: 0,
    }
}
