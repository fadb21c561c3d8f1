//! Reads values again where a policy says that they are short-lived: a process beside the gateway, which has no walls of its own
//! and needs none, for nothing that an agent or an upstream says ever reaches it.
use super::MAX;
use super::source::{Places, value};
use qila_policy::model::SecretRef;
use qila_sys::fork::{Fork, Namespaces, exit_now, fork};
use qila_sys::{caps, pass};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::cell::RefCell;
use std::time::Duration;
use tokio::net::UnixDatagram;
use zeroize::{Zeroize, Zeroizing};

/// Longest time that an answer may take: a program's own, and some.
const PATIENCE: Duration = Duration::from_secs(40);
/// In front of an answer: the question's number, and whether it is a value.
const HEAD: usize = 5;
/// Largest answer in bytes.
const ANSWER: usize = HEAD + MAX + 2;

/// The gateway's end.
pub(super) struct Keeper {
    link: RefCell<Option<OwnedFd>>,
    open: tokio::sync::OnceCell<UnixDatagram>,
    /// The last question's number.
    last: tokio::sync::Mutex<u32>,
}

impl Keeper {
    /// Forks the process. To be called while there is one thread only, and before the walls are up.
    pub(super) fn start(secrets: &[Option<SecretRef>], places: &Places) -> Result<Keeper, Errno> {
        let (ours, theirs) = pass::pair()?;
        match fork(Namespaces::NONE)? {
            Fork::Child => {
                drop(ours);
                let _ = serve(secrets, places, &theirs);
                exit_now(0)
            }
            Fork::Parent { .. } => Ok(Keeper {
                link: RefCell::new(Some(ours)),
                open: tokio::sync::OnceCell::new(),
                last: tokio::sync::Mutex::new(0),
            }),
        }
    }

    /// The value of a secret as it is now.
    pub(super) async fn read(&self, at: usize) -> Result<Zeroizing<String>, String> {
        let gone = |e: std::io::Error| format!("cannot be read again: {e}");
        let mut last = self.last.lock().await;
        *last = last.wrapping_add(1);
        let link = self.open.get_or_try_init(|| async {
            let link = self.link.borrow_mut().take().ok_or(Errno::BADF)?;
            rustix::io::ioctl_fionbio(&link, true)?;
            UnixDatagram::from_std(link.into())
        });
        let link = link.await.map_err(gone)?;
        let at = u16::try_from(at).map_err(|e| e.to_string())?;
        let number = last.to_le_bytes();
        let [low, high] = at.to_le_bytes();
        let [a, b, c, d] = number;
        link.send(&[a, b, c, d, low, high]).await.map_err(gone)?;
        let mut answer = Zeroizing::new(vec![0u8; ANSWER]);
        // An answer that came too late for its own question is nobody's.
        let reading = async {
            loop {
                let n = link.recv(&mut answer).await?;
                if n == 0 || answer.starts_with(&number) {
                    return std::io::Result::Ok(n);
                }
            }
        };
        let n = tokio::time::timeout(PATIENCE, reading)
            .await
            .map_err(|_| "cannot be read again: it takes too long".to_owned())?
            .map_err(gone)?;
        match answer.get(number.len()..n).and_then(<[u8]>::split_first) {
            Some((1, text)) => {
                let text = std::str::from_utf8(text).map_err(|_| "is not text".to_owned())?;
                Ok(Zeroizing::new(text.to_owned()))
            }
            Some((_, why)) => Err(String::from_utf8_lossy(why).into_owned()),
            None => Err("cannot be read again: whoever reads it is gone".into()),
        }
    }
}

/// Answers until the gateway is gone.
fn serve(secrets: &[Option<SecretRef>], places: &Places, link: &OwnedFd) -> Result<(), Errno> {
    caps::die_with_parent()?;
    super::super::confine::no_core()?;
    qila_sys::exec::close_all_but(link.as_fd())?;
    let mut asked = [0u8; 6];
    loop {
        let (n, _) = pass::receive(link, &mut asked)?;
        if n != asked.len() {
            return Ok(());
        }
        let [a, b, c, d, low, high] = asked;
        let secret = secrets.get(usize::from(u16::from_le_bytes([low, high])));
        let read = match secret.and_then(Option::as_ref) {
            Some(secret) => value(secret, places),
            None => Err("is not one that is read again".into()),
        };
        let mut answer = match read {
            Ok(text) => [&[a, b, c, d, 1], text.as_bytes()].concat(),
            Err(why) => [&[a, b, c, d, 0], why.as_bytes()].concat(),
        };
        answer.truncate(ANSWER);
        let sent = pass::send(link, &answer, &[]);
        answer.zeroize();
        sent?;
    }
}
