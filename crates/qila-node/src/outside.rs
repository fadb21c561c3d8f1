//! The network of a sandbox: nothing answers until something in it wants out, then a gateway of its own is started.
use crate::core::Core;
use crate::end::{Why, end};
use crate::fault::internal;
use crate::launcher::GatewayWish;
use crate::live::{Live, Outside};
use crate::record::Record;
use crate::template::Prepared;
use qila_api::{ApiError, Result};
use qila_gateway::{Batch, Gateway, accounts};
use qila_policy::Permit;
use qila_types::RunId;
use rustix::fd::{AsFd, OwnedFd};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::oneshot;

/// Gateways of one sandbox that may vanish, before the sandbox is ended for it.
const VANISHED: u32 = 3;

/// Looks after the network of a sandbox until it ends.
pub(crate) fn look_after(
    core: &Arc<Core>,
    live: &Arc<Live>,
    listeners: Vec<OwnedFd>,
    prepared: &Arc<Prepared>,
    permit: &Arc<Permit>,
) {
    let (stop, stopped) = oneshot::channel();
    let keeper = Keeper {
        core: Arc::downgrade(core),
        live: Arc::downgrade(live),
        listeners,
        prepared: prepared.clone(),
        permit: permit.clone(),
    };
    let task = tokio::spawn(keeper.run(stopped));
    *live.outside.lock().unwrap_or_else(PoisonError::into_inner) = Some(Outside { stop, task });
}

struct Keeper {
    core: Weak<Core>,
    live: Weak<Live>,
    listeners: Vec<OwnedFd>,
    prepared: Arc<Prepared>,
    permit: Arc<Permit>,
}

/// How a gateway came to an end.
enum Over {
    /// It was told to.
    Stopped,
    /// It vanished, or spoke out of turn.
    Vanished(String),
}

impl Keeper {
    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        let mut vanished = 0;
        loop {
            tokio::select! {
                _ = &mut stopped => return,
                wanted = self.wanted() => if let Err(e) = wanted {
                    return self.fail(e.to_string()).await;
                },
            }
            match self.serve(&mut stopped).await {
                Ok(Over::Stopped) => return,
                Ok(Over::Vanished(why)) => {
                    vanished += 1;
                    eprintln!("qila: {why}");
                    if vanished >= VANISHED {
                        return self.fail(why).await;
                    }
                }
                Err(e) => return self.fail(e.message).await,
            }
        }
    }

    /// A sandbox whose network nobody can look after any more has no business going on.
    async fn fail(&self, why: String) {
        let (Some(core), Some(live)) = (self.core.upgrade(), self.live.upgrade()) else {
            return;
        };
        // Its end waits for this task: not from within it.
        tokio::spawn(async move {
            if let Err(e) = end(&core, &live, Why::Failed(why)).await {
                eprintln!("qila: ending a sandbox: {e}");
            }
        });
    }

    /// Waits until something in the sandbox wants out.
    async fn wanted(&self) -> std::io::Result<()> {
        let mut waits = Vec::with_capacity(self.listeners.len());
        for listener in &self.listeners {
            waits.push(crate::ready::readable(listener)?);
        }
        let ready = waits.iter().map(|fd| Box::pin(fd.readable()));
        let (first, ..) = futures_util::future::select_all(ready).await;
        first.map(drop)
    }

    /// Starts a gateway and writes down what it says until it is over.
    async fn serve(&self, stopped: &mut oneshot::Receiver<()>) -> Result<Over> {
        let (Some(core), Some(live)) = (self.core.upgrade(), self.live.upgrade()) else {
            return Ok(Over::Stopped);
        };
        let record = live.record();
        let wish = self.wish(&core, &record)?;
        let again = core.clone();
        let started = tokio::task::spawn_blocking(move || start(&again, &wish)).await;
        let mut gateway = started.map_err(|e| internal("starting a gateway", &e))??;
        let sockets: Vec<_> = self.listeners.iter().map(AsFd::as_fd).collect();
        gateway
            .listen(&sockets)
            .map_err(|e| internal("telling a gateway to listen", &e))?;
        let link = crate::ready::readable(gateway.link()).map_err(|e| internal("hearing a gateway", &e))?;
        loop {
            tokio::select! {
                _ = &mut *stopped => break,
                ready = link.readable() => {
                    let mut ready = ready.map_err(|e| internal("hearing a gateway", &e))?;
                    let Batch { events, confirm, .. } = match gateway.take() {
                        Ok(batch) => batch,
                        Err(gone) => return Ok(Over::Vanished(gone.to_string())),
                    };
                    if events.is_empty() && confirm.is_none() {
                        ready.clear_ready();
                        continue;
                    }
                    core.evidence.record(&record.id, events).await?;
                    if let Some(through) = confirm
                        && let Err(gone) = gateway.written(through)
                    {
                        return Ok(Over::Vanished(gone.to_string()));
                    }
                }
            }
        }
        let last = tokio::task::spawn_blocking(move || gateway.stop()).await;
        let last = last.map_err(|e| internal("ending a gateway", &e))?;
        let last = last.map_err(|e| internal("ending a gateway", &e))?;
        core.evidence.record(&record.id, last).await?;
        Ok(Over::Stopped)
    }

    fn wish(&self, core: &Core, record: &Record) -> Result<GatewayWish> {
        let run = RunId::parse(record.id.as_str()).map_err(|e| internal("naming a run", &e))?;
        let policy = self.permit.policy();
        let files = accounts(
            &core.state.join("budgets"),
            &run,
            &core.home.sandbox(record.id.as_str()),
            record.tenant.as_str(),
            &policy.budgets,
        );
        let files = files.map_err(|e| internal("keeping accounts", &e))?;
        let budget = |b: qila_gateway::BudgetFile| (b.path, String::from_utf8_lossy(&b.owner).into_owned());
        let leases = core.state.join("leases");
        if record.mints
            && let Err(e) = std::fs::create_dir(&leases)
            && e.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(internal("remembering leases", &e));
        }
        Ok(GatewayWish {
            rules: self.prepared.rules.clone(),
            narrowed: record.network.clone(),
            placeholders: record.placeholders.clone(),
            upstreams: core.upstreams.clone(),
            upstream_ca: core.upstream_ca.clone(),
            budgets: files.into_iter().map(budget).collect(),
            prices: core.prices.clone(),
            leases: record.mints.then(|| (leases, run.to_string())),
            authority: record.authority.clone(),
            home: core.user_home.clone(),
        })
    }
}

fn start(core: &Core, wish: &GatewayWish) -> Result<Gateway> {
    let mints = wish.leases.is_some();
    let started = core.launcher.gateway(wish);
    let (link, pidfd) = started.map_err(|e| internal("starting a gateway", &e))?;
    let mut gateway = Gateway::adopt(link, pidfd, mints);
    gateway.ready().map_err(|e| {
        eprintln!("qila: a gateway did not start: {}", e.what);
        let error = ApiError::new(
            qila_api::Kind::Refused,
            format!("the gateway did not start: {}", e.what),
        )
        .clause("network");
        if e.hint.is_empty() {
            error
        } else {
            error.hint(e.hint)
        }
    })?;
    Ok(gateway)
}

/// How long the listeners of a sandbox that is found again may take to come.
const ASKED: Duration = Duration::from_secs(5);

/// Asks a guest for the sockets on which its gateway is to listen.
pub(crate) async fn listeners(live: &Live) -> Result<Vec<OwnedFd>> {
    let asked = crate::guest::request(&live.dir, &qila_wire::served::Ask::Listeners);
    let asked = tokio::time::timeout(ASKED, asked).await;
    let (mut line, _) = asked
        .map_err(|_| internal("finding a sandbox's network again", &"its guest does not answer"))?
        .map_err(crate::fault::guest)?;
    Ok(std::mem::take(&mut line.fds))
}
