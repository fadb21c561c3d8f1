//! The keeper's process, from the fork to the end.
use super::message::{Answer, Ask, Had, MAX_ANSWER, Question};
use super::mint::Mint;
use super::send::Ways;
use super::source::{Places, value};
use super::{FAREWELL, Setup, Task};
use crate::dial::Dialler;
use crate::tls::Outward;
use qila_lease::journal::Record;
use qila_policy::model::{Aws, SecretRef};
use qila_sys::caps;
use rustix::fd::{AsFd, OwnedFd};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UnixDatagram;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};
use zeroize::Zeroizing;

/// Longest question in bytes.
const MAX_QUESTION: usize = 256;

/// What is under way is waited for, in part of the time that taking back may take.
const BUSY: Duration = Duration::from_secs(4);

/// Runs to the end. Answers the exit code.
pub(super) fn run(setup: Setup, link: OwnedFd) -> i32 {
    match prepare(&setup, &link).and_then(|()| serve(setup, link)) {
        Ok(()) => 0,
        Err(_) => 1, // the gateway sees that it is gone
    }
}

fn prepare(setup: &Setup, link: &OwnedFd) -> std::io::Result<()> {
    // Whoever has something to take back outlives the gateway for as long as that takes, and no longer.
    if !setup.mints() {
        caps::die_with_parent()?;
    }
    crate::confine::no_core()?;
    qila_sys::exec::close_all_but(link.as_fd())?;
    Ok(())
}

struct Keeper {
    tasks: Vec<(String, Option<Task>)>,
    places: Places,
    /// None: nothing is minted; or why nothing can be.
    mint: Option<Result<Rc<Mint>, String>>,
    link: UnixDatagram,
    busy: Cell<usize>,
    idle: Notify,
}

fn serve(setup: Setup, link: OwnedFd) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        rustix::io::ioctl_fionbio(&link, true)?;
        let keeper = Rc::new(Keeper {
            mint: setup.mints().then(|| mint(&setup)),
            tasks: setup.tasks,
            places: setup.places,
            link: UnixDatagram::from_std(link.into())?,
            busy: Cell::new(0),
            idle: Notify::new(),
        });
        keeper.serve().await;
        // Without waiting for a program that prints something which nobody wants any more.
        qila_sys::fork::exit_now(0)
    })
}

fn mint(setup: &Setup) -> Result<Rc<Mint>, String> {
    let leases = setup
        .leases
        .as_ref()
        .ok_or("there is no place to remember leases in")?;
    let ways = Ways {
        dialler: Dialler::new(setup.upstreams.clone()),
        outward: Outward::new(&setup.upstream_ca)?,
    };
    let authorities = setup.upstream_ca.iter().map(|p| p.to_string_lossy().into_owned());
    let first = Record::Ways {
        upstreams: setup.upstreams.iter().map(ToString::to_string).collect(),
        authorities: authorities.collect(),
    };
    let mint = Mint::new(ways, setup.places.clone(), leases, &first);
    mint.map(Rc::new).map_err(|e| e.to_string())
}

impl Keeper {
    async fn serve(self: &Rc<Self>) {
        let mut packet = [0u8; MAX_QUESTION];
        loop {
            let read = self.link.recv(&mut packet).await;
            let question = match read {
                Ok(n @ 1..) => packet.get(..n).and_then(Question::decode),
                _ => None,
            };
            match question {
                Some(Question {
                    number,
                    ask: Ask::Finish,
                }) => {
                    let left = serde_json::to_string(&self.finish().await).map_err(|e| e.to_string());
                    let had = left.map(|text| Had::text(Zeroizing::new(text)));
                    self.answer(Answer { number, had }).await;
                    return self.each_mint(|mint| mint.close());
                }
                Some(Question { number, ask }) => {
                    self.busy.set(self.busy.get() + 1);
                    let keeper = self.clone();
                    spawn_local(async move {
                        let had = keeper.had(ask).await;
                        keeper.answer(Answer { number, had }).await;
                        keeper.busy.set(keeper.busy.get() - 1);
                        keeper.idle.notify_one();
                    });
                }
                // The gateway is gone.
                None => {
                    self.each_mint(|mint| mint.alone());
                    if self.finish().await.is_empty() {
                        self.each_mint(|mint| mint.close()); // there is nothing to be told
                    }
                    return;
                }
            }
        }
    }

    fn each_mint(&self, with: impl Fn(&Rc<Mint>)) {
        if let Some(Ok(mint)) = &self.mint {
            with(mint);
        }
    }

    /// Takes everything back, what is only just being minted included.
    async fn finish(&self) -> Vec<super::Left> {
        let Some(Ok(mint)) = &self.mint else {
            return Vec::new();
        };
        let idle = async {
            while self.busy.get() > 0 {
                self.idle.notified().await;
            }
        };
        let _ = tokio::time::timeout(BUSY, idle).await; // what is still under way then is reported as not known
        mint.finish(FAREWELL - BUSY).await
    }

    async fn answer(&self, answer: Answer) {
        let packet = answer.encode();
        let _ = self
            .link
            .send(packet.get(..packet.len().min(MAX_ANSWER)).unwrap_or(&packet))
            .await; // nobody waits for it any more
    }

    async fn had(&self, ask: Ask) -> Result<Had, String> {
        let mint = || match &self.mint {
            Some(mint) => mint.clone(),
            None => Err("nothing is minted here".into()),
        };
        match ask {
            Ask::Retire(lease) => mint()?
                .retire(lease)
                .await
                .map(|()| Had::text(Zeroizing::default())),
            Ask::Finish => Err("is asked for once".into()),
            Ask::Value(at) => match self.tasks.get(at) {
                Some((_, Some(Task::Text(secret)))) => self.text(secret).await.map(Had::text),
                Some((_, Some(Task::Keys(aws)))) => self.keys(aws).await.map(Had::text),
                Some((name, Some(Task::Mint(source)))) => mint()?.value(name, source).await,
                Some((_, None)) | None => Err("is not one that is read again".into()),
            },
        }
    }

    /// A slow program holds nobody up but who wants its value.
    async fn text(&self, secret: &SecretRef) -> Result<Zeroizing<String>, String> {
        let (secret, places) = (secret.clone(), self.places.clone());
        spawn_blocking(move || value(&secret, &places))
            .await
            .map_err(|e| e.to_string())?
    }

    async fn keys(&self, aws: &Aws) -> Result<Zeroizing<String>, String> {
        let parts = [
            Some(&aws.access_key_id),
            Some(&aws.secret_access_key),
            aws.session_token.as_ref(),
        ];
        let mut text = Zeroizing::new(String::new());
        for secret in parts.into_iter().flatten() {
            let part = self
                .text(secret)
                .await
                .map_err(|what| format!("{what}: {secret}"))?;
            if part.contains('\0') {
                return Err(format!("holds a NUL: {secret}"));
            }
            if !text.is_empty() {
                text.push('\0');
            }
            text.push_str(&part);
        }
        Ok(text)
    }
}
