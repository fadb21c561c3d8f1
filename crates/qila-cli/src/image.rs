//! `qila image`: images for templates and for `filesystem.base`, built or pulled on this host.
use crate::fail::{Fail, chain};
use crate::home::Home;
use crate::policy::print;
use clap::Subcommand;
use qila_image::{Auth, Build, Limits, Options, Progress, Reference, Store, build, pull};
use qila_types::Millis;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// `qila image`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build an image from a Dockerfile of your own, with buildah, and print where its layout is.
    ///
    /// The result is the `layout` of a template's source, or `filesystem.base: {oci_layout: …}` of a policy. The commands of the
    /// Dockerfile run with your rights: build only what you trust.
    Build {
        /// Directory that `COPY` copies from.
        context: PathBuf,
        /// Directory for the layout; it must not be there yet.
        layout: PathBuf,
        /// The Dockerfile. Default: `Dockerfile` in the directory.
        #[arg(long, short = 'f', value_name = "FILE")]
        file: Option<PathBuf>,
        /// The program.
        #[arg(long, value_name = "FILE", default_value = "/usr/bin/buildah")]
        buildah: PathBuf,
        /// How long it may take.
        #[arg(long, value_name = "TIME", default_value = "1h")]
        timeout: Millis,
    },
    /// Pull an image from a registry into the store of this host, and print its digest.
    Pull {
        /// The image, such as `docker.io/library/python:3.12`, or one with `@sha256:…`.
        image: String,
        /// Registry on this host or a private network that may be asked; with `http://` before it one on loopback without TLS.
        #[arg(long, value_name = "HOST[:PORT]")]
        registry: Vec<String>,
    },
}

/// Carries it out.
pub(crate) fn image(command: ImageCommand) -> Result<u8, Fail> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Fail::new(format!("starting: {e}")))?;
    runtime.block_on(async {
        match command {
            ImageCommand::Build {
                context,
                layout,
                file,
                buildah,
                timeout,
            } => built(context, layout, file, buildah, timeout).await,
            ImageCommand::Pull { image, registry } => pulled(&image, &registry).await,
        }
    })
}

fn absolute(path: &Path) -> Result<PathBuf, Fail> {
    std::path::absolute(path).map_err(|e| Fail::io("resolving", path, e))
}

async fn built(
    context: PathBuf,
    layout: PathBuf,
    file: Option<PathBuf>,
    buildah: PathBuf,
    timeout: Millis,
) -> Result<u8, Fail> {
    let context = absolute(&context)?;
    let wish = Build {
        dockerfile: file
            .as_deref()
            .map(absolute)
            .transpose()?
            .unwrap_or_else(|| context.join("Dockerfile")),
        context,
        buildah,
        work: absolute(&layout)?,
        timeout: Duration::from_millis(timeout.0),
        lines: Some(Arc::new(|line: &str| eprintln!("{}", crate::ps::harmless(line)))),
    };
    let made = build(wish).await.map_err(|e| Fail::new(chain(&e)))?;
    print(&made.to_string_lossy());
    Ok(0)
}

async fn pulled(name: &str, registries: &[String]) -> Result<u8, Fail> {
    let home = Home::open()?;
    let wrong = |e: &dyn std::error::Error| Fail::new(format!("{name}: {}", chain(e)));
    let reference = Reference::parse(name).map_err(|e| wrong(&e).code(2))?;
    let store = Store::open(&home.path().join("images"), Limits::default()).map_err(|e| wrong(&e))?;
    let auth = match std::env::var_os("HOME") {
        Some(home) => {
            let file = PathBuf::from(home).join(".docker/config.json");
            Auth::from_docker_config(&file, &reference.registry).map_err(|e| wrong(&e))?
        }
        None => Auth::Anonymous,
    };
    let plain = registries
        .iter()
        .filter_map(|r| r.strip_prefix("http://"))
        .map(str::to_owned);
    let options = Options {
        plain_http: plain.collect(),
        registries: registries
            .iter()
            .map(|r| r.trim_start_matches("http://").to_owned())
            .collect(),
        progress: Some(Arc::new(|at| match at {
            Progress::Resolved { layers, bytes, .. } => {
                eprintln!("qila: {layers} layers, {} MiB to come", bytes.div_ceil(1 << 20))
            }
            Progress::Fetching { .. } => {}
            Progress::Unpacking => eprintln!("qila: unpacking"),
        })),
        ..Options::default()
    };
    let pulled = pull(reference, Arc::new(store), auth, options)
        .await
        .map_err(|e| wrong(&e))?;
    print(&pulled.digest);
    Ok(0)
}
