//! Paths that are hidden and used, and secrets that would be seen.
use super::Found;
use crate::error::Contradiction;
use crate::model::{Base, Credential, Filesystem, PolicyPath, SecretRef, WorkspaceMode};
use crate::parse::Draft;

pub(super) fn find(draft: &Draft, out: &mut Vec<Found>) {
    let fs = &draft.policy.filesystem;
    for (hidden, at) in fs.hide.iter().zip(&draft.marks.hide) {
        let clause = "filesystem.hide".to_owned();
        if hidden.0 == "/" {
            out.push((*at, clause, Contradiction::HiddenRoot(hidden.0.clone())));
        } else if hidden.0 == "." && fs.workspace != WorkspaceMode::None {
            out.push((
                *at,
                clause,
                Contradiction::HiddenWorkspace {
                    hidden: hidden.0.clone(),
                },
            ));
        }
    }
    for (list, marks, clause, how) in [
        (&fs.read, &draft.marks.read, "filesystem.read", "readable"),
        (&fs.write, &draft.marks.write, "filesystem.write", "writable"),
    ] {
        for (path, at) in list.iter().zip(marks) {
            // Beneath what is hidden nothing can be shown; above it, the hidden part is left out.
            if let Some(hidden) = fs.hide.iter().find(|h| h.contains(path)) {
                let (hidden, path) = (hidden.0.clone(), path.0.clone());
                out.push((
                    *at,
                    clause.to_owned(),
                    Contradiction::HiddenUsed { hidden, path, how },
                ));
            }
            let in_workspace = path.0 == "." || path.0.starts_with("./");
            if in_workspace && fs.workspace == WorkspaceMode::None {
                out.push((*at, clause.to_owned(), Contradiction::NoWorkspace));
            }
        }
    }
    for (credential, at) in draft.policy.credentials.iter().zip(&draft.marks.credentials) {
        let clause = format!("credentials.{}.source", credential.name);
        for secret in credential.source.secrets() {
            if let Some(contradiction) = seen(fs, credential, &secret) {
                out.push((*at, clause.clone(), contradiction));
            }
        }
    }
}

/// A secret's file that the agent could read, or a program that it could replace and that then runs outside.
fn seen(fs: &Filesystem, credential: &Credential, secret: &SecretRef) -> Option<Contradiction> {
    let name = credential.name.clone();
    let workspace = PolicyPath(".".to_owned());
    let given = (fs.workspace != WorkspaceMode::None).then_some(&workspace);
    match secret {
        SecretRef::Env(_) => None,
        SecretRef::File(file) => {
            if fs.hide.iter().any(|h| h.contains(file)) {
                return None;
            }
            let base = match &fs.base {
                Base::Directory(d) | Base::OciLayout(d) => Some(d),
                Base::Host => None,
            };
            let mut shown = fs.read.iter().chain(&fs.write).chain(given).chain(base);
            let path = shown.find(|p| p.contains(file))?.0.clone();
            Some(Contradiction::SecretShown {
                path,
                file: file.0.clone(),
                credential: name,
            })
        }
        SecretRef::Command(words) => {
            let direct = given.filter(|_| fs.workspace == WorkspaceMode::Direct);
            let file = PolicyPath(words.first()?.clone());
            let mut writable = fs.write.iter().chain(direct);
            let path = writable.find(|p| p.contains(&file))?.0.clone();
            Some(Contradiction::ProgramWritable {
                path,
                file: file.0,
                credential: name,
            })
        }
    }
}
