//! Paths that programs on the host obey without being asked: the classic way out of a workspace.
use crate::walk::leads_out;
use crate::{Node, NodeKind};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a [`Risk`] matches, in any directory of the workspace and without regard to ASCII case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// An entry of this name.
    Name(&'static str),
    /// Anything beneath a directory of this name.
    Beneath(&'static str),
    /// Anything beneath a directory with the second name that lies, at any depth, beneath one with the first.
    Within(&'static str, &'static str),
    /// An entry with the second name at any depth beneath a directory with the first.
    Named(&'static str, &'static str),
    /// A name that ends so.
    Suffix(&'static str),
}

/// One kind of path that is shown as risky and that apply refuses unless it is named or risky ones are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Risk {
    /// Which paths.
    pub rule: Rule,
    /// What obeys them.
    pub reason: &'static str,
}

const fn risk(rule: Rule, reason: &'static str) -> Risk {
    Risk { rule, reason }
}

const GIT_CONFIG: &str = "Git runs programs that its configuration names";
const GIT_OTHER: &str = "points Git at another repository, whose configuration and hooks it obeys";
const EDITOR: &str = "editors run tasks and tools that their project settings name";
const CI: &str = "runs on the build service, with its secrets, once pushed";
const AGENT: &str = "agents on the host start tools and hooks that it names";
const SHELL: &str = "a shell or tool on the host runs it when the directory is entered";
const PACKAGE: &str = "a package manager or build tool runs programs that it names";
const STARTUP: &str = "a program on the host runs it at its start";

/// The list. Code that a person runs knowingly (a makefile, a test) is not on it: that is what the diff is for.
pub const RISKS: &[Risk] = &[
    risk(Rule::Within(".git", "hooks"), "Git runs its hooks"),
    risk(Rule::Named(".git", "config"), GIT_CONFIG),
    risk(Rule::Named(".git", "config.worktree"), GIT_CONFIG),
    risk(
        Rule::Named(".git", "attributes"),
        "Git runs filters that attributes select",
    ),
    risk(Rule::Named(".git", "alternates"), GIT_OTHER),
    risk(Rule::Named(".git", "commondir"), GIT_OTHER),
    risk(Rule::Named(".git", "gitdir"), GIT_OTHER),
    risk(
        Rule::Name(".gitmodules"),
        "Git fetches from, and runs update commands of, the submodules it names",
    ),
    risk(Rule::Name(".gitconfig"), GIT_CONFIG),
    risk(Rule::Name(".envrc"), SHELL),
    risk(Rule::Name(".rvmrc"), SHELL),
    risk(Rule::Name(".mise.toml"), SHELL),
    risk(Rule::Name("mise.toml"), SHELL),
    risk(Rule::Beneath(".mise"), SHELL),
    risk(Rule::Beneath(".direnv"), SHELL),
    risk(Rule::Name(".autoenv.zsh"), SHELL),
    risk(Rule::Beneath(".vscode"), EDITOR),
    risk(Rule::Suffix(".code-workspace"), EDITOR),
    risk(Rule::Beneath(".idea"), EDITOR),
    risk(Rule::Beneath(".fleet"), EDITOR),
    risk(Rule::Beneath(".zed"), EDITOR),
    risk(Rule::Beneath(".devcontainer"), EDITOR),
    risk(Rule::Name(".devcontainer.json"), EDITOR),
    risk(Rule::Name(".dir-locals.el"), EDITOR),
    risk(Rule::Name(".exrc"), EDITOR),
    risk(Rule::Name(".vimrc"), EDITOR),
    risk(Rule::Name(".nvimrc"), EDITOR),
    risk(Rule::Name(".nvim.lua"), EDITOR),
    risk(Rule::Name(".lvimrc"), EDITOR),
    risk(Rule::Beneath(".claude"), AGENT),
    risk(Rule::Beneath(".cursor"), AGENT),
    risk(Rule::Beneath(".codex"), AGENT),
    risk(Rule::Beneath(".gemini"), AGENT),
    risk(Rule::Beneath(".windsurf"), AGENT),
    risk(Rule::Beneath(".continue"), AGENT),
    risk(Rule::Name(".mcp.json"), AGENT),
    risk(Rule::Name(".aider.conf.yml"), AGENT),
    risk(Rule::Beneath(".husky"), "installed as Git hooks"),
    risk(Rule::Name(".pre-commit-config.yaml"), "installed as Git hooks"),
    risk(Rule::Name("lefthook.yml"), "installed as Git hooks"),
    risk(Rule::Name(".lefthook.yml"), "installed as Git hooks"),
    risk(Rule::Within(".github", "workflows"), CI),
    risk(Rule::Within(".github", "actions"), CI),
    risk(Rule::Name(".gitlab-ci.yml"), CI),
    risk(Rule::Beneath(".circleci"), CI),
    risk(Rule::Beneath(".buildkite"), CI),
    risk(Rule::Name("jenkinsfile"), CI),
    risk(Rule::Name("azure-pipelines.yml"), CI),
    risk(Rule::Name("bitbucket-pipelines.yml"), CI),
    risk(Rule::Name(".travis.yml"), CI),
    risk(Rule::Name(".drone.yml"), CI),
    risk(Rule::Named(".cargo", "config"), PACKAGE),
    risk(Rule::Named(".cargo", "config.toml"), PACKAGE),
    risk(Rule::Name("rust-toolchain"), PACKAGE),
    risk(Rule::Name("rust-toolchain.toml"), PACKAGE),
    risk(Rule::Name(".npmrc"), PACKAGE),
    risk(Rule::Name(".yarnrc"), PACKAGE),
    risk(Rule::Name(".yarnrc.yml"), PACKAGE),
    risk(Rule::Name(".pnpmfile.cjs"), PACKAGE),
    risk(Rule::Name(".bazelrc"), PACKAGE),
    risk(Rule::Name(".gdbinit"), STARTUP),
    risk(Rule::Name(".lldbinit"), STARTUP),
    risk(Rule::Suffix(".pth"), STARTUP),
    risk(Rule::Name("sitecustomize.py"), STARTUP),
    risk(Rule::Name("usercustomize.py"), STARTUP),
    risk(Rule::Name(".bashrc"), STARTUP),
    risk(Rule::Name(".bash_profile"), STARTUP),
    risk(Rule::Name(".profile"), STARTUP),
    risk(Rule::Name(".zshrc"), STARTUP),
    risk(Rule::Name(".zshenv"), STARTUP),
    risk(Rule::Within(".config", "autostart"), STARTUP),
    risk(Rule::Within(".config", "systemd"), STARTUP),
    risk(Rule::Beneath(".ssh"), "grants or redirects logins"),
];

const LINK_OUT: &str = "a symbolic link out of the workspace: whoever writes through it writes elsewhere";
const BARE: &str = "makes its directory a Git repository, whose configuration and hooks Git obeys";

/// Why applying a change may make the host run what the agent wrote, if it may.
///
/// Directories are never risky by themselves; what they hold is.
pub fn risk_of(path: &Path, before: Option<&Node>, after: Option<&Node>) -> Option<&'static str> {
    let node = after.or(before)?;
    if node.kind == NodeKind::Directory {
        return None;
    }
    if let Some(target) = after.and_then(|n| n.target.as_deref())
        && leads_out(path, target)
    {
        return Some(LINK_OUT);
    }
    let parts: Vec<Vec<u8>> = path.iter().map(|p| p.as_bytes().to_ascii_lowercase()).collect();
    let (name, parents) = parts.split_last()?;
    let is = |part: &[u8], text: &str| part == text.as_bytes();
    let found = RISKS.iter().find(|risk| match risk.rule {
        Rule::Name(n) => is(name, n),
        Rule::Beneath(d) => parents.iter().any(|p| is(p, d)),
        Rule::Within(a, b) => after_dir(parents, a).is_some_and(|rest| rest.iter().any(|p| is(p, b))),
        Rule::Named(a, n) => is(name, n) && parents.iter().any(|p| is(p, a)),
        Rule::Suffix(s) => name.ends_with(s.as_bytes()),
    });
    if let Some(risk) = found {
        return Some(risk.reason);
    }
    // A `.git` that is no directory names a repository elsewhere; a `HEAD` outside `.git` is what makes a directory a
    // bare repository.
    if is(name, ".git") {
        return Some(GIT_OTHER);
    }
    (after.is_some() && is(name, "head") && !parents.iter().any(|p| is(p, ".git"))).then_some(BARE)
}

fn after_dir<'p>(parents: &'p [Vec<u8>], name: &str) -> Option<&'p [Vec<u8>]> {
    let at = parents.iter().position(|p| OsStr::from_bytes(p) == name)?;
    parents.get(at + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Identity, Time};

    fn node(target: Option<&str>) -> Node {
        let zero = Time { sec: 0, nsec: 0 };
        Node {
            kind: if target.is_some() {
                NodeKind::Symlink
            } else {
                NodeKind::File
            },
            size: 0,
            mode: 0o644,
            target: target.map(Into::into),
            id: Identity {
                dev: 0,
                ino: 0,
                mtime: zero,
                ctime: zero,
            },
        }
    }

    #[test]
    fn what_the_host_obeys_is_risky_and_ordinary_work_is_not() {
        for (path, risky) in [
            (".git/hooks/pre-commit", true),
            (".GIT/Hooks/pre-commit", true),
            ("sub/.git/modules/x/hooks/post-checkout", true),
            (".git/config", true),
            (".git/worktrees/w/config.worktree", true),
            (".git/objects/info/alternates", true),
            (".git/objects/ab/cdef", false),
            (".git/refs/heads/main", false),
            (".git/HEAD", false),
            (".git/index", false),
            ("vendored/HEAD", true),
            (".git", true),
            (".vscode/tasks.json", true),
            ("a/b/.envrc", true),
            (".github/workflows/ci.yml", true),
            (".github/README.md", false),
            ("src/hooks/useThing.ts", false),
            ("src/config", false),
            ("Makefile", false),
            ("lib/site-packages/x.pth", true),
        ] {
            assert_eq!(
                risk_of(Path::new(path), None, Some(&node(None))).is_some(),
                risky,
                "{path}"
            );
        }
    }

    #[test]
    fn links_are_risky_only_when_they_lead_out() {
        for (path, target, risky) in [
            ("a", "b", false),
            ("d/a", "../b", false),
            ("d/a", "../../b", true),
            ("a", "/etc/passwd", true),
            ("a", "x/../../y", true),
            ("d/e/a", "./../x//y", false),
        ] {
            assert_eq!(
                risk_of(Path::new(path), None, Some(&node(Some(target)))).is_some(),
                risky,
                "{path} -> {target}"
            );
        }
    }
}
