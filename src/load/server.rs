//! The server under load: a foreign one, or a `throng serve` of this same binary on free ports.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::Pid;

use super::fleet::raise_descriptor_limit;
use super::freeze;
use super::keep::{Scratch, data_arguments};
use super::metrics::Metrics;
use super::options::Common;
use super::probe::Probe;
use super::target::{Target, ready_admin, ready_url};

/// How long a child may take to end after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether it has.
const STOP_LOOK: Duration = Duration::from_millis(5);

/// The child that runs now, for [`end_child`]; 0 for none. A run has one at a time.
static CHILD: AtomicI32 = AtomicI32::new(0);

/// Asks the child to end, where the process ends without running destructors. It is not waited for.
pub fn end_child() {
    let number = CHILD.swap(0, SeqCst);
    if number > 0 {
        // Fails only for a child that has ended by itself.
        let _ = kill(Pid::from_raw(number), Signal::SIGTERM);
    }
}

/// A child server, ended by SIGTERM when this is dropped.
pub struct ChildServer {
    child: Child,
    /// Where it takes clients.
    pub url: String,
    /// Where it tells its metrics, if its line says so.
    pub admin: Option<String>,
    /// It was asked to end: a second time would mean at once.
    is_asked: bool,
    /// Reads what it prints; at its end gives the last line after the readiness line.
    last_line: Option<JoinHandle<Option<String>>>,
}

impl ChildServer {
    /// Starts `throng serve` for clients at `listen` with `arguments` and waits for its readiness line.
    ///
    /// # Errors
    ///
    /// As [`ChildServer::start_own`].
    fn start(listen: &str, arguments: &[String]) -> Result<Self, String> {
        let serve = ["serve", "--listen", listen, "--admin", "127.0.0.1:0"];
        Self::start_own(serve.into_iter().chain(arguments.iter().map(String::as_str)))
    }

    /// Starts this same binary with `arguments` and waits for its readiness line.
    ///
    /// # Errors
    ///
    /// It cannot be started, or it ended or closed its output before it was ready.
    pub fn start_own(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| format!("this binary has no path: {error}"))?;
        let mut command = Command::new(program);
        command.args(arguments);
        Self::start_command(command)
    }

    fn start_command(mut command: Command) -> Result<Self, String> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // Its own group: a Ctrl-C in the terminal stops the run, and the run stops the server.
        command.process_group(0);
        let mut child = with_open_signals(|| command.spawn())
            .map_err(|error| format!("the server {program} cannot be started: {error}"))?;
        CHILD.store(child.id() as i32, SeqCst);
        let stdout = child.stdout.take().unwrap_or_else(|| unreachable!("stdout is piped above"));
        let mut server = Self { child, url: String::new(), admin: None, is_asked: false, last_line: None };
        let mut lines = BufReader::new(stdout).lines();
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(url) = ready_url(&line) {
                server.url = url.to_owned();
                server.admin = ready_admin(&line).map(str::to_owned);
                // Whatever it prints later must not block it, so somebody reads to the end.
                server.last_line = Some(std::thread::spawn(move || lines.map_while(Result::ok).last()));
                return Ok(server);
            }
        }
        let ended = server.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        Err(format!("the server {program} was never ready: {ended} (its messages are above)"))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// Runs `start` with no signal blocked: a child inherits the mask of the thread that starts it, and
/// with [`super::interrupt`]'s it would never see the SIGTERM that is to end it.
fn with_open_signals<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = start();
    before.thread_set_mask()?;
    started
}

impl ChildServer {
    /// Asks the child to end, and does not wait for that.
    fn ask_to_end(&mut self) -> io::Result<()> {
        self.is_asked = true;
        // It was not waited for, so the number is still its own.
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)?;
        Ok(())
    }

    /// Asks the child to end, waits up to [`STOP_MAX`] and then ends it; how it ended.
    fn stop(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        freeze::thaw();
        // Another child may run by now; that one is not this one's to forget.
        let _ = CHILD.compare_exchange(self.child.id() as i32, 0, SeqCst, SeqCst);
        if !self.is_asked {
            self.ask_to_end()?;
        }
        let end = Instant::now() + STOP_MAX;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(STOP_LOOK);
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        // Fails only for a child that has ended by itself, which the figures have shown by then.
        let _ = self.stop();
    }
}

/// Connections that a shard's table holds more than, with certainty: the kernel spreads connections over
/// listeners by a hash, and the fullest of many shards gets a few percent more than its share.
const SHARD_SHARE: f64 = 0.8;

/// `serve_args` with `--shards` added if the server's own choice, one for each core, has too few
/// descriptor tables for `connections`.
fn with_shards(serve_args: &str, connections: u64) -> Result<String, String> {
    let per_shard = raise_descriptor_limit()? as f64 * SHARD_SHARE;
    let shards = (connections as f64 / per_shard).ceil() as usize;
    let is_chosen = serve_args.split_whitespace().any(|word| word.split('=').next() == Some("--shards"));
    if is_chosen || shards <= std::thread::available_parallelism().map_or(1, usize::from) {
        return Ok(serve_args.to_owned());
    }
    Ok(format!("{serve_args} --shards {shards}"))
}

/// The server under load, however it came to be.
pub struct Server {
    /// Present if this run started it.
    child: Option<ChildServer>,
    /// Its arguments beside the addresses, to start it again.
    arguments: Vec<String>,
    /// Its data directory, which must outlive it.
    scratch: Option<Scratch>,
    /// Its URL as given or as printed by the child.
    pub url: String,
    /// The URL, parsed and resolved.
    pub target: Target,
    /// Its process, if known: without one there are no server figures.
    pub probe: Option<Probe>,
}

impl Server {
    /// Takes or starts the server that `common` names, for `connections`.
    ///
    /// # Errors
    ///
    /// As [`Server::resolve`].
    pub fn of(common: &Common, connections: u64) -> Result<Self, String> {
        match &common.target {
            Some(url) => Self::at(url, common.pid),
            None => Self::start(common, &common.serve_args, connections),
        }
    }

    /// Takes the server at `url`, whose process is `pid` if given.
    ///
    /// # Errors
    ///
    /// The URL or the process is not to be had: a sentence that says which and why.
    pub fn at(url: &str, pid: Option<u32>) -> Result<Self, String> {
        let target = Target::parse(url)?;
        let probe = pid.map(Probe::new).transpose()?;
        let (arguments, scratch) = (Vec::new(), None);
        Ok(Self { child: None, arguments, scratch, url: url.to_owned(), target, probe })
    }

    /// Starts a child with `serve_args`, configured as `common` says, and with as many shards as `connections`
    /// need.
    ///
    /// # Errors
    ///
    /// It cannot be had: a sentence that says why.
    pub fn start(common: &Common, serve_args: &str, connections: u64) -> Result<Self, String> {
        let serve_args = with_shards(serve_args, connections)?;
        let (scratch, mut arguments) = data_arguments(common.keep.as_ref(), &common.settings, &serve_args)?;
        arguments.extend(serve_args.split_whitespace().map(str::to_owned));
        let server = Self::own(ChildServer::start("127.0.0.1:0", &arguments)?)?;
        Ok(Self { arguments, scratch: Some(scratch), ..server })
    }

    /// Takes `child` as the server.
    ///
    /// # Errors
    ///
    /// It has ended since it was ready.
    pub fn own(child: ChildServer) -> Result<Self, String> {
        let url = child.url.clone();
        let target = Target::parse(&url)?;
        let probe = Some(Probe::new(child.pid())?);
        let (arguments, scratch) = (Vec::new(), None);
        Ok(Self { child: Some(child), arguments, scratch, url, target, probe })
    }

    /// Ends a server that this run started without a chance to tidy up (SIGKILL).
    ///
    /// # Errors
    ///
    /// It is not this run's.
    pub fn kill(&mut self) -> Result<(), String> {
        let Some(child) = &mut self.child else {
            return Err(
                "a server at --target cannot be started again: leave --target or --restart out".to_owned()
            );
        };
        child.child.kill().map_err(|error| format!("the server cannot be ended: {error}"))
    }

    /// Starts a server that was killed again, with the same arguments, address and data directory; how long it
    /// took to be ready.
    ///
    /// # Errors
    ///
    /// It is not this run's, or does not come up again.
    pub fn start_again(&mut self) -> Result<Duration, String> {
        if let Some(child) = &mut self.child {
            child.child.wait().map_err(|error| format!("the server cannot be waited for: {error}"))?;
        }
        let started = Instant::now();
        let child = ChildServer::start(&self.target.address.to_string(), &self.arguments)?;
        let took = started.elapsed();
        self.probe = Some(Probe::new(child.pid())?);
        self.child = Some(child);
        Ok(took)
    }

    /// Asks a server that this run started to end (SIGTERM), and does not wait for that.
    ///
    /// # Errors
    ///
    /// It has ended by itself.
    pub fn ask_to_end(&mut self) -> Result<(), String> {
        let asked = self.child.as_mut().map_or(Ok(()), ChildServer::ask_to_end);
        asked.map_err(|error| format!("the server cannot be told to end: {error}"))
    }

    /// Where a throng that this run started tells its metrics.
    pub fn admin(&self) -> Option<&str> {
        self.child.as_ref()?.admin.as_deref()
    }

    /// Whether this run started it.
    pub fn is_own(&self) -> bool {
        self.child.is_some()
    }

    /// The directory that a server of this run keeps its data in, or one beside it.
    pub fn directory(&self) -> Option<&Path> {
        self.scratch.as_ref().map(Scratch::path)
    }

    /// What a throng that this run started says of itself.
    pub fn metrics(&self) -> Option<Metrics> {
        Metrics::ask(self.admin()?).ok()
    }

    /// Ends a server that this run started; gives the last line that it printed after its readiness line.
    pub fn finish(mut self) -> Option<String> {
        let child = self.child.as_mut()?;
        child.stop().ok()?;
        child.last_line.take()?.join().ok()?
    }

    /// CPU time of the server so far, or `None` if its process is unknown or gone.
    pub fn cpu(&self) -> Option<Duration> {
        self.probe.and_then(|probe| probe.cpu().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_child_is_ready_at_its_line_and_ends_by_sigterm() {
        // `interrupt` blocks SIGTERM in this process; a child must not inherit that, or it never ends.
        SigSet::from(Signal::SIGTERM).thread_block().unwrap();
        let line = "throng ready: clients ws://127.0.0.1:9/connection/websocket, admin http://127.0.0.1:8";
        let wait = "while :; do sleep 0.01; done";
        let script = format!("trap 'echo last; exit 7' TERM; echo booting; echo '{line}'; {wait}");
        let mut server = ChildServer::start_command(shell(&script)).unwrap();
        assert_eq!(server.url, "ws://127.0.0.1:9/connection/websocket");
        assert!(Probe::new(server.pid()).is_ok());
        assert_eq!(server.stop().unwrap().code(), Some(7));
        assert!(Probe::new(server.pid()).is_err());
        assert_eq!(server.last_line.take().unwrap().join().unwrap().as_deref(), Some("last"));
    }

    #[test]
    fn a_server_for_more_connections_than_its_tables_hold_gets_shards_unless_it_has_them() {
        let limit = raise_descriptor_limit().unwrap();
        assert_eq!(with_shards("--quiet", 1).unwrap(), "--quiet");
        let many = with_shards("", limit * 50).unwrap();
        assert_eq!(many, " --shards 63");
        assert_eq!(with_shards("--shards 3", limit * 50).unwrap(), "--shards 3");
        assert_eq!(with_shards("--shards=3", limit * 50).unwrap(), "--shards=3");
    }

    #[test]
    fn a_child_that_ends_before_it_is_ready_is_an_error_with_its_status() {
        let Err(error) = ChildServer::start_command(shell("echo no; exit 3")) else { panic!("never ready") };
        assert!(error.contains("never ready") && error.contains('3'), "{error}");
    }
}
