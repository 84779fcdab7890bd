//! The server under load: a foreign one, or a `throng serve` of this same binary on free ports.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::Pid;

use super::fleet::raise_descriptor_limit;
use super::freeze;
use super::options::Common;
use super::probe::Probe;
use super::report::per;
use super::target::{Target, ready_admin, ready_url};

/// How long a child may take to end after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(10);
/// How long a child may take to tell its metrics.
const METRICS_MAX: Duration = Duration::from_secs(2);
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
    /// Reads what it prints; at its end gives the last line after the readiness line.
    last_line: Option<JoinHandle<Option<String>>>,
    /// Where its rooms are, if that is ours to remove.
    _data: Option<OwnData>,
}

/// A data directory for one run, removed when this is dropped. A run that is interrupted leaves it.
struct OwnData(PathBuf);

impl OwnData {
    /// Names one that nobody else has; none if `serve_args` names another. The server makes it.
    fn unless_in(serve_args: &str) -> Option<OwnData> {
        static NAMED: AtomicU32 = AtomicU32::new(0);
        let name = format!("throng-bench-{}-{}", std::process::id(), NAMED.fetch_add(1, SeqCst));
        (!gives(serve_args, "--data")).then(|| OwnData(std::env::temp_dir().join(name)))
    }
}

impl Drop for OwnData {
    fn drop(&mut self) {
        // It is not there if the server did not come that far.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether `serve_args` gives `option` a value.
fn gives(serve_args: &str, option: &str) -> bool {
    serve_args.split_whitespace().any(|word| word.split('=').next() == Some(option))
}

impl ChildServer {
    /// Starts `throng serve` with `serve_args` (split at spaces) and waits for its readiness line. Its
    /// rooms are kept in a directory of its own, which ends with it, unless `serve_args` names one.
    ///
    /// # Errors
    ///
    /// It cannot be started, or it ended or closed its output before it was ready.
    pub fn start(serve_args: &str) -> Result<Self, String> {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let data = OwnData::unless_in(serve_args);
        let mut arguments: Vec<&OsStr> = serve.map(OsStr::new).into();
        arguments.extend(serve_args.split_whitespace().map(OsStr::new));
        if let Some(data) = &data {
            arguments.extend([OsStr::new("--data"), data.0.as_os_str()]);
        }
        let mut server = Self::start_own(arguments)?;
        server._data = data;
        Ok(server)
    }

    /// Starts this same binary with `arguments` and waits for its readiness line.
    ///
    /// # Errors
    ///
    /// As [`ChildServer::start`].
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
        let mut server = Self { child, url: String::new(), admin: None, last_line: None, _data: None };
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
    /// Asks the child to end, waits up to [`STOP_MAX`] and then ends it; how it ended.
    fn stop(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        freeze::thaw();
        // Another child may run by now; that one is not this one's to forget.
        let _ = CHILD.compare_exchange(self.child.id() as i32, 0, SeqCst, SeqCst);
        // It was not waited for, so the number is still its own.
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)?;
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
    if gives(serve_args, "--shards") || shards <= std::thread::available_parallelism().map_or(1, usize::from)
    {
        return Ok(serve_args.to_owned());
    }
    Ok(format!("{serve_args} --shards {shards}"))
}

/// Deliveries and the writes they left in, as throng counts them since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writes {
    deliveries: u64,
    writes: u64,
}

impl Writes {
    /// Reads both counters from `/metrics` of the admin listener at `address`.
    fn ask(address: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(METRICS_MAX))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Self::parse(&text).ok_or_else(|| io::Error::other("no such counters"))
    }

    fn parse(text: &str) -> Option<Self> {
        let counter = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Some(Self {
            deliveries: counter("throng_deliveries_total ")?,
            writes: counter("throng_writes_total ")?,
        })
    }

    /// Deliveries per write from `before` to now; `None` if nothing was written.
    pub fn messages_per_write_since(self, before: Self) -> Option<f64> {
        per((self.deliveries - before.deliveries) as f64, self.writes - before.writes)
    }
}

/// The server under load, however it came to be.
pub struct Server {
    /// Present if this run started it.
    child: Option<ChildServer>,
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
        Self::resolve(common.target.as_deref(), common.pid, &common.serve_args, connections)
    }

    /// Takes the server at `url`, whose process is `pid` if given; without a URL starts a child with
    /// `serve_args`, and with as many shards as `connections` need.
    ///
    /// # Errors
    ///
    /// The URL, the process or the child is not to be had: a sentence that says which and why.
    pub fn resolve(
        url: Option<&str>,
        pid: Option<u32>,
        serve_args: &str,
        connections: u64,
    ) -> Result<Self, String> {
        let Some(url) = url else {
            return Self::own(ChildServer::start(&with_shards(serve_args, connections)?)?);
        };
        let target = Target::parse(url)?;
        let probe = pid.map(Probe::new).transpose()?;
        Ok(Self { child: None, url: url.to_owned(), target, probe })
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
        Ok(Self { child: Some(child), url, target, probe })
    }

    /// Whether this run started it.
    pub fn is_own(&self) -> bool {
        self.child.is_some()
    }

    /// What a throng that this run started says of its writes so far.
    pub fn writes(&self) -> Option<Writes> {
        Writes::ask(self.child.as_ref()?.admin.as_deref()?).ok()
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
    fn a_server_without_a_data_directory_gets_one_that_ends_with_it() {
        for given in ["--data /x", "--shards 2 --data=/x"] {
            assert!(OwnData::unless_in(given).is_none(), "{given}");
        }
        let [one, other] = ["", "--config my--data"].map(|args| OwnData::unless_in(args).unwrap());
        assert_ne!(one.0, other.0);
        std::fs::create_dir(&one.0).unwrap();
        let path = one.0.clone();
        drop(one);
        assert!(!path.exists());
    }

    #[test]
    fn messages_per_write_are_those_between_two_looks_at_the_metrics() {
        let look = |deliveries: u64, writes: u64| {
            let text = format!("throng_deliveries_total {deliveries}\nthrong_writes_total {writes}\n");
            Writes::parse(&text).unwrap()
        };
        assert_eq!(look(1_160, 30).messages_per_write_since(look(1_000, 20)), Some(16.0));
        assert_eq!(look(5, 1).messages_per_write_since(look(5, 1)), None);
        assert_eq!(Writes::parse("# HELP throng_writes_total x\n"), None);
    }

    #[test]
    fn a_child_that_ends_before_it_is_ready_is_an_error_with_its_status() {
        let Err(error) = ChildServer::start_command(shell("echo no; exit 3")) else { panic!("never ready") };
        assert!(error.contains("never ready") && error.contains('3'), "{error}");
    }
}
