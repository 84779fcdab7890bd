//! One connection that publishes or watches, with its socket: whole before anything is timed, never blocking after.
//!
//! Invariant: what the kernel did not take waits in `unsent` and leaves before anything newer.
//!
//! Absent on purpose: whose turn it is to publish. A pacer and a writer know that.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::connection::{Connection, Script, Stage, Tally};
use super::watch::Watch;

/// The buffer that a thread of speakers reads into, and so the longest frame they may receive: a server may
/// join the answers to everything that is in flight.
pub const BUFFER_BYTES: usize = 1024 * 1024;
/// Bytes that may wait for one connection; past it nothing is published on it and it falls behind.
const UNSENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a connection may take to become whole.
const SETUP_MAX: Duration = Duration::from_secs(10);

/// A connection that publishes.
pub struct Speaker {
    /// Its socket.
    pub stream: TcpStream,
    /// Frames that wait for the socket.
    pub unsent: Vec<u8>,
    connection: Connection,
}

impl Speaker {
    /// Connects to `address` and waits until connection `number` of `script` is whole.
    ///
    /// # Errors
    ///
    /// It did not become whole, with the reason.
    pub fn connect(address: SocketAddr, script: &Script, number: u64) -> Result<Self, String> {
        Self::connect_watched(address, script, number, &mut Watch::Count)
    }

    /// The same, with what comes meanwhile looked at by `watch`.
    ///
    /// # Errors
    ///
    /// As [`Speaker::connect`].
    pub fn connect_watched(
        address: SocketAddr,
        script: &Script,
        number: u64,
        watch: &mut Watch<'_>,
    ) -> Result<Self, String> {
        let said = |error: io::Error| format!("the connection to {address} failed: {error}");
        let stream = TcpStream::connect_timeout(&address, SETUP_MAX).map_err(said)?;
        stream.set_nodelay(true).map_err(said)?;
        stream.set_read_timeout(Some(SETUP_MAX)).map_err(said)?;
        let mut speaker = Self { stream, connection: Connection::new(), unsent: Vec::new() };
        let mut request = Vec::new();
        script.upgrade_request(number, &mut request);
        speaker.stream.write_all(&request).map_err(said)?;
        speaker.connection.stage = Stage::Upgrading;
        let (end, mut buffer) = (Instant::now() + SETUP_MAX, vec![0; BUFFER_BYTES]);
        while speaker.connection.stage != Stage::Whole {
            if Instant::now() >= end {
                return Err(format!("the connection to {address}: {}", no_answer()));
            }
            let read = speaker.read_once(number, script, &mut buffer, &mut Tally::default(), watch);
            read.map_err(|reason| format!("the connection to {address}: {reason}"))?;
            let unsent = std::mem::take(&mut speaker.unsent);
            speaker.stream.write_all(&unsent).map_err(said)?;
        }
        speaker.stream.set_nonblocking(true).map_err(said)?;
        Ok(speaker)
    }

    /// True while it may not be given more.
    pub fn is_full(&self) -> bool {
        self.unsent.len() > UNSENT_BYTES_MAX
    }

    /// Writes what waits, as far as the kernel takes it.
    ///
    /// # Errors
    ///
    /// Why the connection ends.
    pub fn write(&mut self) -> Result<(), String> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.unsent) {
            Ok(written) => {
                self.unsent.drain(..written);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(format!("write: {error}")),
        }
    }

    /// Reads into `buffer` until the socket is empty and takes what came.
    ///
    /// # Errors
    ///
    /// Why the connection ends.
    pub fn read(
        &mut self,
        number: u64,
        script: &Script,
        buffer: &mut [u8],
        tally: &mut Tally,
        watch: &mut Watch<'_>,
    ) -> Result<(), String> {
        while self.read_once(number, script, buffer, tally, watch)? {}
        Ok(())
    }

    /// Reads once and takes what came; false if nothing did.
    fn read_once(
        &mut self,
        number: u64,
        script: &Script,
        buffer: &mut [u8],
        tally: &mut Tally,
        watch: &mut Watch<'_>,
    ) -> Result<bool, String> {
        let held = self.connection.partial.len();
        if held == buffer.len() {
            return Err(format!("the server sent a frame longer than {held} bytes"));
        }
        buffer[..held].copy_from_slice(&self.connection.partial);
        let came = match self.stream.read(&mut buffer[held..]) {
            Ok(0) => return Err("closed by the server without a close frame".to_owned()),
            Ok(came) => came,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && self.connection.stage == Stage::Whole =>
            {
                return Ok(false);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(no_answer()),
            Err(error) => return Err(format!("read: {error}")),
        };
        let bytes = &buffer[..held + came];
        let taken = self.connection.receive(bytes, number, script, &mut self.unsent, tally, watch)?;
        self.connection.partial = bytes[taken..].into();
        Ok(true)
    }
}

fn no_answer() -> String {
    format!("not whole within {} s: the server does not answer", SETUP_MAX.as_secs())
}
