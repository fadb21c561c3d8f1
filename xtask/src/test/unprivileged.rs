//! Running a program as a user who owns nothing.
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::tables::UNPRIVILEGED_ID;
use crate::{shell, tree};

/// A user with a home folder of its own and nothing else; the folder goes when this does.
#[derive(Debug)]
pub struct Account {
    home: PathBuf,
    /// A folder above the checkout that others may not enter, to be covered in a private mount namespace.
    closed: Option<PathBuf>,
}

/// Starts the program at `$5…` as the user `$1`. Where the folder `$2` is closed to others, it is covered by an empty
/// one in a private mount namespace and the checkout `$3` put back at its place by way of `$4`: the same paths, nothing opened up on
/// the host.
const SCRIPT: &str = r#"
set -e
id=$1 closed=$2 checkout=$3 keep=$4
shift 4
if [ -n "$closed" ]; then
    mount --rbind "$checkout" "$keep"
    mount -t tmpfs -o mode=755 qila-test "$closed"
    mkdir -p "$checkout"
    mount --rbind "$keep" "$checkout"
    cd "$PWD"
fi
exec setpriv --reuid "$id" --regid "$id" --clear-groups --inh-caps=-all --bounding-set=-all -- "$@"
"#;

impl Account {
    /// Makes the home folder, or says why there can be no such user here.
    pub fn open() -> Result<Result<Account, String>, Error> {
        if shell::find("setpriv").is_none() {
            return Ok(Err("setpriv is not installed".to_owned()));
        }
        let home = std::env::temp_dir().join(format!("qila-unprivileged-{}", std::process::id()));
        for name in ["tmp", "qila", "keep"] {
            shell::make_folder(&home.join(name))?;
        }
        let owner = format!("{UNPRIVILEGED_ID}:{UNPRIVILEGED_ID}");
        shell::succeed(Command::new("chown").arg("-R").arg(owner).arg(&home))?;
        let closed = first_closed(&tree::root(), |path| {
            std::fs::metadata(path).is_ok_and(|entry| entry.mode() & 0o001 != 0)
        });
        let account = Account { home, closed };
        // Said here, once: otherwise every program would seem out of reach, and be skipped for the wrong reason.
        let mut probe = Command::new("env");
        account.wrap(&mut probe, Path::new("true"));
        shell::succeed(&mut probe)?;
        Ok(Ok(account))
    }

    /// Appends the program to a command line, to be run as this user with a clean environment.
    pub fn wrap(&self, command: &mut Command, program: &Path) {
        if self.closed.is_some() {
            command.args(["unshare", "--mount", "--propagation", "private"]);
        }
        let closed: OsString = self
            .closed
            .clone()
            .map(PathBuf::into_os_string)
            .unwrap_or_default();
        command
            .args(["sh", "-c", SCRIPT, "sh", UNPRIVILEGED_ID])
            .arg(closed)
            .arg(tree::root());
        command.arg(self.home.join("keep")).arg(program);
        command.env_clear().env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        command
            .env("HOME", &self.home)
            .env("TMPDIR", self.home.join("tmp"));
        command
            .env("QILA_HOME", self.home.join("qila"))
            .env("USER", "qila-test")
            .env("LANG", "C.UTF-8");
        for name in ["RUST_BACKTRACE", "CI"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
    }

    /// Whether this user can start that file at all.
    pub fn can_run(&self, program: &Path) -> bool {
        let mut probe = Command::new("env");
        self.wrap(&mut probe, Path::new("test"));
        shell::quietly(probe.arg("-x").arg(program))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.home) {
            eprintln!("note: cannot remove {}: {error}", self.home.display());
        }
    }
}

/// The first folder on the way to `path`, itself excluded, that others may not enter.
fn first_closed(path: &Path, open: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    above
        .into_iter()
        .find(|folder| !open(folder))
        .map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_closed_folder_is_found() {
        let closed =
            |names: &'static [&str]| move |path: &Path| !names.contains(&path.to_str().unwrap_or_default());
        assert_eq!(
            first_closed(Path::new("/root/a/b"), closed(&["/root", "/root/a"])),
            Some(PathBuf::from("/root"))
        );
        assert_eq!(first_closed(Path::new("/root/a/b"), closed(&["/root/a/b"])), None);
        assert_eq!(first_closed(Path::new("/root/a"), closed(&[])), None);
    }

    #[test]
    fn the_program_has_another_user_id_and_no_capability() {
        if !shell::is_root() {
            println!("skipped: needs root");
            return;
        }
        let account = Account::open().expect("open").expect("setpriv");
        let mut command = Command::new("env");
        account.wrap(&mut command, Path::new("sh"));
        let output = command.args([
            "-c",
            "id -u; grep CapEff /proc/self/status; touch $HOME/x $TMPDIR/y && echo wrote",
        ]);
        let output = output.output().expect("sh");
        let text = String::from_utf8_lossy(&output.stdout).replace('\t', " ");
        assert_eq!(
            text,
            format!("{UNPRIVILEGED_ID}\nCapEff: 0000000000000000\nwrote\n"),
            "{output:?}"
        );
    }
}
