//! Writing to a socket as much as it takes, in as few calls as it takes.

use std::io::{self, IoSlice};
use std::net::TcpStream;

use crate::conn::Backlog;
use crate::host;
use crate::shard::Stats;
use crate::shard::output::{FrameId, Output};

/// Most slices given to one `writev`; the kernel takes up to 1,024 (`UIO_MAXIOV`).
const SLICES_MAX: usize = 64;

/// Writes `frames` in order. Returns how many were written whole and how many bytes of the next
/// one. A socket that takes no more is not an error.
pub(super) fn write_frames(
    socket: &TcpStream,
    output: &Output,
    frames: &[FrameId],
    writes: &mut u64,
) -> io::Result<(usize, usize)> {
    let mut done = 0;
    while done < frames.len() {
        let some = &frames[done..frames.len().min(done + SLICES_MAX)];
        let result = if let [frame] = some {
            host::socket::send(socket, output.bytes_of(*frame))
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            for (slice, frame) in slices.iter_mut().zip(some) {
                *slice = IoSlice::new(output.bytes_of(*frame));
            }
            host::socket::send_vectored(socket, &slices[..some.len()])
        };
        let mut count = match result {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((done, 0)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        *writes += 1;
        for frame in some {
            let length = output.bytes_of(*frame).len();
            if count < length {
                return Ok((done, count));
            }
            count -= length;
            done += 1;
        }
    }
    Ok((done, 0))
}

/// Writes `backlog` until it is empty or the socket takes no more, which is not an error.
pub(super) fn drain_backlog(
    socket: &TcpStream,
    backlog: &mut Backlog,
    now_ms: u64,
    stats: &Stats,
) -> io::Result<()> {
    while backlog.held_bytes() > 0 {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = backlog.slices(&mut slices);
        match host::socket::send_vectored(socket, &slices[..used]) {
            Ok(count) => {
                stats.writes.add(1);
                backlog.written(count, now_ms);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
