//! The server under load: a foreign one, or a `throng serve` of this same binary on free ports.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::probe::Probe;
use super::target::{Target, ready_url};

/// A child server, ended by SIGTERM when this is dropped.
pub struct ChildServer {
    child: Child,
    /// Where it takes clients.
    pub url: String,
}

impl ChildServer {
    /// Starts `throng serve` with `serve_args` (split at spaces) and waits for its readiness line.
    ///
    /// # Errors
    ///
    /// It cannot be started, or it ended or closed its output before it was ready.
    pub fn start(serve_args: &str) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| format!("this binary has no path: {error}"))?;
        let mut child = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(serve_args.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Its own group: a Ctrl-C in the terminal stops the run, and the run stops the server.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{} serve cannot be started: {error}", program.display()))?;
        let stdout = child.stdout.take().unwrap_or_else(|| unreachable!("stdout is piped above"));
        let mut server = Self { child, url: String::new() };
        let mut lines = BufReader::new(stdout).lines();
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(url) = ready_url(&line) {
                server.url = url.to_owned();
                // Whatever it prints later must not block it, so somebody reads to the end.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Ok(server);
            }
        }
        let ended = server.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        Err(format!("{} serve was never ready: {ended} (its messages are above)", program.display()))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        // It is our child and not waited for yet, so the number is still its own.
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// The server under load, however it came to be.
pub struct Server {
    /// Present if this run started it.
    _child: Option<ChildServer>,
    /// Its URL as given or as printed by the child.
    pub url: String,
    /// The URL, parsed and resolved.
    pub target: Target,
    /// Its process, if known: without one there are no server figures.
    pub probe: Option<Probe>,
}

impl Server {
    /// Takes the server at `url`, whose process is `pid` if given; without a URL starts a child with
    /// `serve_args`.
    ///
    /// # Errors
    ///
    /// The URL, the process or the child is not to be had: a sentence that says which and why.
    pub fn resolve(url: Option<&str>, pid: Option<u32>, serve_args: &str) -> Result<Self, String> {
        let (child, url, pid) = match url {
            Some(url) => (None, url.to_owned(), pid),
            None => {
                let child = ChildServer::start(serve_args)?;
                let (url, pid) = (child.url.clone(), child.pid());
                (Some(child), url, Some(pid))
            }
        };
        let target = Target::parse(&url)?;
        let probe = pid.map(Probe::new).transpose()?;
        Ok(Self { _child: child, url, target, probe })
    }

    /// CPU time of the server so far, or `None` if its process is unknown or gone.
    pub fn cpu(&self) -> Option<Duration> {
        self.probe.and_then(|probe| probe.cpu().ok())
    }
}
