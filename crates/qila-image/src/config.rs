//! What an image says of itself: for which machine it is, and how it wants to be run.
use crate::blob::Blob;
use crate::error::ImageError;
use crate::layout::{MAX_DOCUMENT, Manifest, architecture, parse, quoted};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};

/// Longest `PATH` and longest working directory, in bytes.
const MAX_PATH: usize = 4096;
/// Most variables of the environment, and most words of a command.
const MAX_WORDS: usize = 1024;
/// Longest variable, word or user, in bytes.
const MAX_WORD: usize = 32 * 1024;

/// How an image wants to be run. What has a NUL byte or is longer than the kernel would take is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Its environment, `NAME=value` each, `PATH` included.
    pub env: Vec<String>,
    /// An absolute path, where its commands begin.
    pub working_dir: Option<String>,
    /// The user it wants, as it says it. Only recorded: a sandbox has one user.
    pub user: Option<String>,
    /// What every command line begins with.
    pub entrypoint: Vec<String>,
    /// What the command line is unless another is given.
    pub cmd: Vec<String>,
    /// Digests of its layers as they are decompressed, the lowest first; none where it does not say.
    #[serde(default)]
    pub(crate) diff_ids: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    config: Option<Run>,
    #[serde(default)]
    rootfs: Option<RootFs>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Run {
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    working_dir: Option<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    entrypoint: Option<Vec<String>>,
    #[serde(default)]
    cmd: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

impl ImageConfig {
    /// Reads and verifies an image's configuration: it is for this machine.
    pub(crate) fn read(layout: &OwnedFd, manifest: &Manifest) -> Result<ImageConfig, ImageError> {
        let bytes = Blob::small(layout, &manifest.config, MAX_DOCUMENT)?;
        ImageConfig::parse(&manifest.config.digest, &bytes, manifest.layers.len())
    }

    pub(crate) fn parse(digest: &str, bytes: &[u8], layers: usize) -> Result<ImageConfig, ImageError> {
        let document: Document = parse(digest, bytes)?;
        let here = ["linux", architecture()];
        let said = [&document.os, &document.architecture];
        if said
            .iter()
            .zip(here)
            .any(|(said, here)| !said.is_empty() && *said != here)
        {
            return Err(ImageError::NoImage(format!(
                "the image is for {}/{}, not for {}",
                quoted(&document.os),
                quoted(&document.architecture),
                here.join("/")
            )));
        }
        let diff_ids = document.rootfs.map(|r| r.diff_ids).unwrap_or_default();
        if !diff_ids.is_empty() && diff_ids.len() != layers {
            let why = format!("it names {} layers of the manifest's {layers}", diff_ids.len());
            return Err(ImageError::format(digest, why));
        }
        let run = document.config.unwrap_or_default();
        let fits = |word: &String, most: usize| word.len() <= most && !word.contains('\0');
        let words = |words: Option<Vec<String>>| -> Vec<String> {
            let words = words.unwrap_or_default().into_iter();
            words.filter(|w| fits(w, MAX_WORD)).take(MAX_WORDS).collect()
        };
        // A command with a word left out would be another command.
        let command = |all: Option<Vec<String>>| {
            let whole =
                all.iter().flatten().all(|w| fits(w, MAX_WORD)) && all.iter().flatten().count() <= MAX_WORDS;
            all.filter(|_| whole).unwrap_or_default()
        };
        Ok(ImageConfig {
            env: words(run.env)
                .into_iter()
                .filter(|v| v.split_once('=').is_some_and(|(name, _)| !name.is_empty()))
                .collect(),
            working_dir: run
                .working_dir
                .filter(|d| d.starts_with('/') && fits(d, MAX_PATH)),
            user: run.user.filter(|u| !u.is_empty() && fits(u, MAX_WORD)),
            entrypoint: command(run.entrypoint),
            cmd: command(run.cmd),
            diff_ids,
        })
    }

    /// Where it wants its programs to be looked for.
    pub fn path(&self) -> Option<&str> {
        let path = self.env.iter().find_map(|v| v.strip_prefix("PATH="));
        path.filter(|p| !p.is_empty() && p.len() <= MAX_PATH)
    }
}
