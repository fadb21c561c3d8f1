//! What a node can be asked.
use crate::Result;
use crate::create::{Create, Fork};
use crate::file::{Entry, Reader, Stream, Watch, Writer};
use crate::id::{SandboxId, SnapshotId, Tenant};
use crate::process::{Attach, Exec, Input, Process, ProcessInfo, Select};
use crate::sandbox::{Cursor, Event, Filter, LogLine, Metrics, Page, Sandbox, Snapshot};
use crate::template::Template;
use async_trait::async_trait;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;

/// What a node can be asked. All of it may be called at any time, in any order and at once; what ends or changes a sandbox may be
/// repeated. Dropping a future gives up waiting; what was begun is finished or undone.
#[async_trait]
pub trait Node: Send + Sync + 'static {
    /// Makes a sandbox. It is ready when this answers.
    async fn create(&self, tenant: &Tenant, wish: Create) -> Result<Sandbox>;
    /// What is known of one, running or paused.
    async fn get(&self, tenant: &Tenant, id: &SandboxId) -> Result<Sandbox>;
    /// The tenant's sandboxes, newest first, at most `limit`.
    async fn list(
        &self,
        tenant: &Tenant,
        filter: &Filter,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<Sandbox>>;
    /// Ends one. False: there was none. What is asked of it from then on is not found.
    async fn kill(&self, tenant: &Tenant, id: &SandboxId) -> Result<bool>;
    /// Sets its end to so long from now. With `only_extend`, never earlier than it was.
    async fn set_timeout(
        &self,
        tenant: &Tenant,
        id: &SandboxId,
        timeout: Duration,
        only_extend: bool,
    ) -> Result<Sandbox>;
    /// Stops all of its processes where they are. One that is paused stays so.
    async fn pause(&self, tenant: &Tenant, id: &SandboxId) -> Result<Sandbox>;
    /// Lets them go on, and sets its end. One that runs goes on running, with an end no earlier than it had.
    async fn resume(&self, tenant: &Tenant, id: &SandboxId, timeout: Option<Duration>) -> Result<Sandbox>;

    /// Keeps its files as they are now.
    async fn snapshot(&self, tenant: &Tenant, id: &SandboxId, name: Option<String>) -> Result<Snapshot>;
    /// The tenant's snapshots, newest first, of one sandbox or of all.
    async fn snapshots(
        &self,
        tenant: &Tenant,
        of: Option<&SandboxId>,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<Snapshot>>;
    /// Removes a snapshot. False: there was none.
    async fn remove_snapshot(&self, tenant: &Tenant, id: &SnapshotId) -> Result<bool>;
    /// Makes a sandbox with the files of another as they are now. Processes, credentials and tokens do not travel.
    async fn fork(&self, tenant: &Tenant, id: &SandboxId, wish: Fork) -> Result<Sandbox>;
    /// Ends its processes and gives it the files of a snapshot of its own.
    async fn roll_back(&self, tenant: &Tenant, id: &SandboxId, to: &SnapshotId) -> Result<Sandbox>;

    /// Starts a program.
    async fn exec(&self, tenant: &Tenant, id: &SandboxId, exec: Exec) -> Result<Process>;
    /// Programs that were started by [`Node::exec`] and run.
    async fn processes(&self, tenant: &Tenant, id: &SandboxId) -> Result<Vec<ProcessInfo>>;
    /// Comes back to a running program, or to one that ended since and whose end nobody has been told.
    async fn attach(&self, tenant: &Tenant, id: &SandboxId, which: &Select, from: Attach) -> Result<Process>;
    /// Says something to a program without listening to it. On return it has been taken.
    async fn tell(&self, tenant: &Tenant, id: &SandboxId, which: &Select, what: Input) -> Result<()>;

    /// What is at a path. A relative one begins at the sandbox's home, here and below.
    async fn stat(&self, tenant: &Tenant, id: &SandboxId, path: &str) -> Result<Entry>;
    /// What is beneath a directory, so many levels deep (1: its own entries), sorted by path.
    async fn read_dir(&self, tenant: &Tenant, id: &SandboxId, path: &str, depth: u32) -> Result<Vec<Entry>>;
    /// Reads a regular file from an offset on.
    async fn read(&self, tenant: &Tenant, id: &SandboxId, path: &str, offset: u64) -> Result<Reader>;
    /// Writes a file as a whole: it is there with all of its bytes, or as it was before. Directories above it are made.
    async fn write(
        &self,
        tenant: &Tenant,
        id: &SandboxId,
        path: &str,
        mode: Option<u32>,
        bytes: Writer,
    ) -> Result<Entry>;
    /// Makes a directory, and those above it. One that is there already is a conflict.
    async fn make_dir(&self, tenant: &Tenant, id: &SandboxId, path: &str) -> Result<Entry>;
    /// Moves or renames.
    async fn rename(&self, tenant: &Tenant, id: &SandboxId, from: &str, to: &str) -> Result<Entry>;
    /// Removes a file, or a directory with everything in it. Nothing there is no error.
    async fn remove(&self, tenant: &Tenant, id: &SandboxId, path: &str) -> Result<()>;
    /// Watches a directory.
    async fn watch(&self, tenant: &Tenant, id: &SandboxId, path: &str, recursive: bool) -> Result<Watch>;

    /// Connects to a TCP port that a program in the sandbox listens on.
    async fn connect(&self, tenant: &Tenant, id: &SandboxId, port: u16) -> Result<Pin<Box<dyn Stream>>>;
    /// What it uses now.
    async fn metrics(&self, tenant: &Tenant, id: &SandboxId) -> Result<Metrics>;
    /// The newest lines of its log, oldest first.
    async fn logs(&self, tenant: &Tenant, id: &SandboxId, limit: usize) -> Result<Vec<LogLine>>;
    /// What happens to the tenant's sandboxes, after this number.
    async fn events(&self, tenant: &Tenant, after: Option<u64>) -> Result<mpsc::Receiver<Event>>;

    /// Templates that the tenant may use.
    async fn templates(&self, tenant: &Tenant) -> Result<Vec<Template>>;
    /// Makes or replaces a template of the tenant. It answers at once; the template may still be building.
    async fn put_template(&self, tenant: &Tenant, template: Template) -> Result<Template>;
    /// Removes a template of the tenant. False: there was none. Sandboxes made from it go on.
    async fn remove_template(&self, tenant: &Tenant, id: &str) -> Result<bool>;

    /// The sandbox, whosever it is: for those that show its own tokens instead of a tenant's key.
    async fn find(&self, id: &SandboxId) -> Result<Sandbox>;
}
