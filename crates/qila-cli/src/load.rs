//! Reading policies and the files that they extend.
use crate::fail::Fail;
use qila_policy::{Bundle, LoadError, Loaded, MAX_BYTES, Origin, Policy, PolicySource, preset};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Files beside the policy.
struct Files;

impl PolicySource for Files {
    fn load(&mut self, reference: &str, from: &Origin) -> Result<Loaded, LoadError> {
        let base = Path::new(&from.name).parent().unwrap_or(Path::new("."));
        let path =
            std::fs::canonicalize(base.join(reference)).map_err(|e| LoadError::System(e.to_string()))?;
        let text = read(&path).map_err(|e| LoadError::System(e.to_string()))?;
        Ok(Loaded {
            name: path.to_string_lossy().into_owned(),
            text,
        })
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let bound = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)?.take(bound).read_to_string(&mut text)?;
    Ok(text)
}

/// The texts of a policy, to be read again elsewhere.
pub(crate) fn bundle(named: &str) -> Result<Bundle, Fail> {
    let wrong = |e: qila_policy::PolicyError| Fail::new(e.to_string().trim_end().to_owned());
    if is_built_in(named) {
        let text = format!("version: {}\nextends: {named}\n", qila_policy::VERSION);
        return Bundle::gather(named, &text, &mut Files)
            .map(|(_, b)| b)
            .map_err(wrong);
    }
    let path = PathBuf::from(named);
    let text = read(&path).map_err(|e| unread(&path, e))?;
    Bundle::gather(named, &text, &mut Files)
        .map(|(_, b)| b)
        .map_err(wrong)
}

fn is_built_in(named: &str) -> bool {
    let looks_like_a_file = named.contains('/') || named.ends_with(".yaml") || named.ends_with(".yml");
    !looks_like_a_file && preset::PRESETS.iter().any(|p| p.name == named)
}

fn unread(path: &Path, error: std::io::Error) -> Fail {
    let names: Vec<&str> = preset::PRESETS.iter().map(|p| p.name).collect();
    Fail::io("reading the policy", path, error).hint(format!(
        "name a file, or one of the built-in policies: {}",
        names.join(", ")
    ))
}

/// The policy of a file, or the built-in one of that name. A file is told by a slash, a dot, or by being there.
pub(crate) fn load(named: &str) -> Result<Policy, Fail> {
    if is_built_in(named)
        && let Some(policy) = preset::policy(named)
    {
        return policy.map_err(|e| Fail::new(e.to_string()));
    }
    let path = PathBuf::from(named);
    let text = read(&path).map_err(|e| unread(&path, e))?;
    qila_policy::parse(named, &text, &mut Files).map_err(|e| Fail::new(e.to_string().trim_end().to_owned()))
}
