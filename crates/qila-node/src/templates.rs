//! The templates of a node: what it has, what is being made ready, what could not be.
use crate::clock::now_ms;
use crate::core::Core;
use crate::fault::{internal, store};
use crate::puts::Puts;
use crate::snapshot::Snap;
use crate::template::{Around, BASE, Prepared, Root, base, prepare};
use qila_api::{ApiError, Kind, Result, SnapshotId, Source, Template, TemplateState, Tenant};
use qila_image::Layered;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// Most templates of one tenant.
const MOST: usize = 200;
/// Most names of one template.
const NAMES: usize = 16;

/// A template, as it is remembered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub owner: Option<Tenant>,
    pub template: Template,
    /// Digest of its image: after a restart it is the same, and no registry is asked.
    #[serde(default)]
    pub digest: Option<String>,
}

fn check(template: &Template) -> Result<()> {
    let sound = |name: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_./:".contains(&b);
        !name.is_empty() && name.len() <= 128 && name.bytes().all(plain)
    };
    if !sound(&template.id) || template.id == BASE {
        return Err(ApiError::invalid(
            "the id of a template has 1 to 128 of a-z, 0-9, `-_./:`, and is not `base`",
        ));
    }
    if template.names.len() > NAMES || !template.names.iter().all(|n| sound(n)) {
        return Err(ApiError::invalid(format!(
            "a template has up to {NAMES} names of a-z, 0-9, `-_./:`"
        )));
    }
    if template.pool > crate::pool::MOST {
        return Err(ApiError::invalid(format!(
            "a pool has up to {} sandboxes",
            crate::pool::MOST
        )));
    }
    Ok(())
}

/// Where the system directories of a template's sandboxes come from, and the image if they come from one. It may take its time.
async fn root(core: &Arc<Core>, kept: &Kept) -> Result<(Root, Option<Arc<Layered>>)> {
    let digest = match &kept.template.source {
        Source::Host => return Ok((Root::Host, None)),
        Source::Directory(path) => return Ok((Root::Directory(path.clone()), None)),
        Source::Snapshot(id) => match beneath(core, kept, id)? {
            Root::Image(digest) => Some(digest),
            other => return Ok((other, None)),
        },
        Source::Image(_) | Source::Layout(_) => kept.digest.clone(),
    };
    let there = match digest {
        Some(digest) => {
            let core = core.clone();
            let there = tokio::task::spawn_blocking(move || images(&core)?.image(&digest)).await;
            let there = there.map_err(|e| internal("opening an image", &e))?;
            there.map_err(|e| refused(&e))?
        }
        None => None,
    };
    let image = match (there, kept.template.source.clone()) {
        (Some(image), _) => image,
        (None, Source::Image(name)) => pull(core, &name, kept.template.host_login).await?,
        (None, Source::Layout(path)) => {
            let core = core.clone();
            let read = tokio::task::spawn_blocking(move || {
                let (layout, name) = match path.rsplit_once(':') {
                    Some((layout, name)) if !Path::new(&path).exists() => (layout, Some(name)),
                    _ => (path.as_str(), None),
                };
                images(&core)?.layout(Path::new(layout), name)
            });
            let read = read.await.map_err(|e| internal("reading an image", &e))?;
            read.map_err(|e| refused(&e))?
        }
        (None, _) => {
            return Err(
                lost("the image on which the snapshot's files were is not there any more")
                    .hint("pull that image again"),
            );
        }
    };
    Ok((Root::Image(image.digest.clone()), Some(Arc::new(image))))
}

fn lost(what: &str) -> ApiError {
    ApiError::new(Kind::Refused, what).clause("template.source")
}

/// Where those of a snapshot's sandbox came from.
fn beneath(core: &Core, kept: &Kept, id: &str) -> Result<Root> {
    let snap = snapshot(core, kept.owner.as_ref(), id)?;
    let templates = core.templates.read().unwrap_or_else(PoisonError::into_inner);
    let known = templates.iter().map(|t| (&t.template, t.owner.as_ref(), &t.root));
    root_of(&snap, kept.digest.as_deref(), known).ok_or_else(|| {
        lost("the template of the snapshot's sandbox is not there any more")
            .hint("make that template again, or take a snapshot of another sandbox")
    })
}

/// `digest`: of the image that it was when the template was made. `known`: templates, whose they are, and their roots.
fn root_of<'a>(
    snap: &Snap,
    digest: Option<&str>,
    known: impl Iterator<Item = (&'a Template, Option<&'a Tenant>, &'a Root)>,
) -> Option<Root> {
    if let Some(root) = &snap.root {
        return Some(root.clone());
    }
    if let Some(digest) = digest {
        return Some(Root::Image(digest.to_owned()));
    }
    // Of a time when neither was written down: its tenant's own template of that name before everyone's.
    let of = known.filter(|(t, owner, _)| {
        t.id == snap.snapshot.template && (t.public || owner.is_none_or(|o| *o == snap.tenant))
    });
    of.max_by_key(|(_, owner, _)| *owner == Some(&snap.tenant))
        .map(|(.., root)| root.clone())
}

fn images(core: &Core) -> std::result::Result<qila_image::Store, qila_image::ImageError> {
    qila_image::Store::open(&core.state.join("images"), qila_image::Limits::default())
}

fn refused(error: &dyn std::error::Error) -> ApiError {
    ApiError::invalid(chain(error)).clause("template.source")
}

/// `login`: with what whoever runs the node has logged in to, which is not for everybody.
async fn pull(core: &Arc<Core>, name: &str, login: bool) -> Result<Layered> {
    let reference = qila_image::Reference::parse(name).map_err(|e| refused(&e))?;
    let store = images(core).map_err(|e| refused(&e))?;
    let auth = match &core.user_home {
        Some(home) if login => {
            let file = Path::new(home).join(".docker/config.json");
            qila_image::Auth::from_docker_config(&file, &reference.registry).map_err(|e| refused(&e))?
        }
        _ => qila_image::Auth::Anonymous,
    };
    // Without TLS only over this host's own loopback, which the puller sees to.
    let plain = core
        .registries
        .iter()
        .filter_map(|r| r.strip_prefix("http://"))
        .map(str::to_owned);
    let options = qila_image::Options {
        plain_http: plain.collect(),
        registries: core
            .registries
            .iter()
            .map(|r| r.trim_start_matches("http://").to_owned())
            .collect(),
        ..qila_image::Options::default()
    };
    let pulled = qila_image::pull(reference, Arc::new(store), auth, options).await;
    pulled.map(|p| p.image).map_err(|e| refused(&e))
}

fn snapshot(core: &Core, tenant: Option<&Tenant>, id: &str) -> Result<Arc<Snap>> {
    let id = SnapshotId::parse(id).map_err(|e| ApiError::invalid(e.to_string()))?;
    match tenant {
        Some(tenant) => crate::snapshot::find(core, tenant, &id),
        None => {
            let all = core.snapshots.read().unwrap_or_else(PoisonError::into_inner);
            all.get(&id)
                .cloned()
                .ok_or_else(|| ApiError::not_found(format!("there is no snapshot {id}")))
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(e) = next {
        text = format!("{text}: {e}");
        next = e.source();
    }
    text
}

/// Makes a template ready.
async fn build(core: &Arc<Core>, kept: &Kept) -> Result<Prepared> {
    let (root, image) = root(core, kept).await?;
    let (core, kept) = (core.clone(), kept.clone());
    let work = tokio::task::spawn_blocking(move || {
        let layers = match &kept.template.source {
            Source::Snapshot(id) => Some(snapshot(&core, kept.owner.as_ref(), id)?.lower.clone()),
            _ => None,
        };
        let around = Around {
            home: &core.home,
            state: &core.state,
            user_home: core.user_home.as_deref(),
            snapshot: layers,
            root,
            image,
        };
        prepare(kept.template, kept.owner, &around)
    });
    work.await.map_err(|e| internal("making a template ready", &e))?
}

/// Takes everything over that is remembered, and the one that every node has.
pub(crate) async fn load(core: &Arc<Core>) -> Result<()> {
    let first = Kept {
        owner: None,
        template: base(),
        digest: None,
    };
    place(core, Arc::new(build(core, &first).await?));
    let mut all = Vec::new();
    for document in core
        .store
        .all(qila_store::Kind::Template)
        .await
        .map_err(|e| store(&e))?
    {
        let kept: Kept = serde_json::from_slice(&document.body).map_err(|e| {
            internal(
                &format!("the record of template {} cannot be read", document.id),
                &e,
            )
        })?;
        all.push(kept);
    }
    // What a snapshot was taken of before what is made of it.
    all.sort_by_key(|k| {
        (
            matches!(k.template.source, Source::Snapshot(_)),
            k.template.made_ms,
        )
    });
    for kept in all {
        match build(core, &kept).await {
            Ok(prepared) => place(core, Arc::new(prepared)),
            // One that the host cannot have any more is no reason for the others not to be there.
            Err(e) => {
                eprintln!("qila: template {}: {e}", kept.template.id);
                failed(core, kept, &e);
            }
        }
    }
    Ok(())
}

fn place(core: &Arc<Core>, prepared: Arc<Prepared>) {
    let same = |t: &Prepared| t.template.id == prepared.template.id && t.owner == prepared.owner;
    let mut all = core.templates.write().unwrap_or_else(PoisonError::into_inner);
    all.retain(|t| !same(t));
    all.push(prepared);
    drop(all);
}

fn failed(core: &Core, kept: Kept, why: &ApiError) {
    let mut all = core.unready.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|k| k.template.id != kept.template.id || k.owner != kept.owner);
    let mut kept = kept;
    kept.template.state = TemplateState::Failed {
        reason: why.message.clone(),
    };
    all.push(kept);
}

/// False: there is none.
fn forget_unready(core: &Core, owner: &Tenant, id: &str) -> bool {
    let mut all = core.unready.lock().unwrap_or_else(PoisonError::into_inner);
    let before = all.len();
    all.retain(|k| k.template.id != id || k.owner.as_ref() != Some(owner));
    all.len() < before
}

/// What a tenant may use, and what of its own is not ready.
pub(crate) fn list(core: &Core, tenant: &Tenant) -> Vec<Template> {
    let all = core.templates.read().unwrap_or_else(PoisonError::into_inner);
    let ready = all
        .iter()
        .filter(|t| t.is_open_to(tenant))
        .map(|t| t.template.clone());
    let mut out: Vec<Template> = ready.collect();
    drop(all);
    let unready = core.unready.lock().unwrap_or_else(PoisonError::into_inner);
    let own = unready.iter().filter(|k| k.owner.as_ref() == Some(tenant));
    out.extend(own.map(|k| k.template.clone()));
    out
}

/// Makes or replaces a template of a tenant.
pub(crate) async fn put(core: &Arc<Core>, tenant: &Tenant, mut template: Template) -> Result<Template> {
    check(&template)?;
    crate::warm::check(&template)?;
    if list(core, tenant).len() >= MOST {
        return Err(ApiError::new(
            Kind::Quota,
            format!("a tenant has at most {MOST} templates"),
        ));
    }
    template.made_ms = now_ms();
    template.state = TemplateState::Building;
    let kept = Kept {
        owner: Some(tenant.clone()),
        template: template.clone(),
        digest: None,
    };
    // What is wrong with it is said at once; only an image may take its time.
    let slow = matches!(template.source, Source::Image(_));
    if slow {
        crate::template::bundle(&template.policy)?;
    }
    let mut puts = core.puts.lock().await;
    let number = puts.begin(tenant, &template.id);
    if slow {
        forget_unready(core, tenant, &template.id);
        core.unready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(kept.clone());
    }
    drop(puts);
    let core = core.clone();
    // Whoever asked may go away: what was begun is finished.
    let work = tokio::spawn(async move {
        let ready = Kept {
            template: Template {
                state: TemplateState::Ready,
                ..kept.template.clone()
            },
            ..kept.clone()
        };
        let built = build(&core, &ready).await;
        let mut puts = core.puts.lock().await;
        if !puts.end(number) {
            let text = format!("template {} was made anew or removed meanwhile", kept.template.id);
            return Err(ApiError::new(Kind::Conflict, text));
        }
        let done = match built {
            Ok(prepared) => finish(&core, ready, Arc::new(prepared), (&mut puts, number)).await,
            Err(e) => Err(e),
        };
        if let Err(e) = &done
            && slow
        {
            failed(&core, kept, e);
        }
        done
    });
    match slow {
        true => Ok(template),
        false => work.await.map_err(|e| internal("making a template", &e))?,
    }
}

async fn finish(
    core: &Arc<Core>,
    mut kept: Kept,
    prepared: Arc<Prepared>,
    (puts, number): (&mut Puts, u64),
) -> Result<Template> {
    kept.digest = prepared.image.as_deref().map(|i| i.digest.clone());
    let tenant = kept
        .owner
        .clone()
        .ok_or_else(|| internal("making a template", &"it is nobody's"))?;
    let text = serde_json::to_vec(&kept).map_err(|e| internal("a template's record", &e))?;
    let id = format!("{tenant}/{}", kept.template.id);
    core.store
        .put(qila_store::Kind::Template, &id, &tenant, text)
        .await
        .map_err(|e| store(&e))?;
    puts.overtake(number, &tenant, &kept.template.id);
    place(core, prepared.clone());
    core.pools.tidy(core);
    core.warmed.tidy(core);
    forget_unready(core, &tenant, &kept.template.id);
    core.pools.fill(core, &prepared);
    Ok(kept.template)
}

/// Removes a template of a tenant.
pub(crate) async fn remove(core: &Arc<Core>, tenant: &Tenant, id: &str) -> Result<bool> {
    let mut puts = core.puts.lock().await;
    puts.overtake(u64::MAX, tenant, id);
    let unready = forget_unready(core, tenant, id);
    let stored = core
        .store
        .remove(qila_store::Kind::Template, &format!("{tenant}/{id}"))
        .await
        .map_err(|e| store(&e))?;
    let gone = {
        let mut all = core.templates.write().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        all.retain(|t| t.template.id != id || t.owner.as_ref() != Some(tenant));
        all.len() < before
    };
    drop(puts);
    core.pools.tidy(core);
    core.warmed.tidy(core);
    crate::layers::sweep(core).await;
    Ok(gone || stored || unready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_the_root_of_its_own_sandbox() {
        let tenant = |name| Tenant::parse(name).unwrap();
        let (mine, other) = (tenant("mine"), tenant("other"));
        let text = r#"{"tenant": "mine", "lower": [], "snapshot":
            {"id": "01m8ffh3pwp8q1y9vesn", "sandbox": "01m8ffh3pwp8q1y9vesn", "template": "t", "name": null, "taken_ms": 1}}"#;
        let old: Snap = serde_json::from_str(text).unwrap();
        let root = |text: &str| Root::Directory(text.into());
        let template = |public| Template {
            id: "t".into(),
            public,
            ..base()
        };
        let (own, open) = (template(false), template(true));
        let (a, b, c) = (root("/mine"), root("/other"), root("/all"));
        let all = [
            (&own, Some(&other), &b),
            (&own, Some(&mine), &a),
            (&open, Some(&other), &c),
        ];
        let ask = |snap: &Snap, digest, known: &[(&Template, Option<&Tenant>, &Root)]| {
            root_of(snap, digest, known.iter().map(|(t, o, r)| (*t, *o, *r)))
        };
        assert_eq!(ask(&old, None, &all), Some(a.clone()));
        assert_eq!(ask(&old, None, &[all[2], all[1]]), Some(a.clone()));
        assert_eq!(ask(&old, None, &[all[0], all[2]]), Some(c.clone()));
        assert_eq!(
            ask(&old, None, &all[..1]),
            None,
            "another tenant's is never meant"
        );
        let image = Some(Root::Image("sha256:d".into()));
        assert_eq!(ask(&old, Some("sha256:d"), &all), image);
        let new = Snap {
            root: Some(root("/then")),
            ..old
        };
        assert_eq!(ask(&new, Some("sha256:d"), &all), Some(root("/then")));
    }
}
