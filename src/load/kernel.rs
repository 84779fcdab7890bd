//! What the kernel holds for the connections of both ends: slabs by cache and socket memory.
//!
//! The figures are of the whole machine. On a quiet one the growth between two samples is the
//! connections'; both ends of a pair count when both are on it.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

/// Caches that a TCP connection registered with epoll takes an object from. Caches of one size may
/// be merged by the kernel, and then the merged one is missing here but counted in the total.
pub const CACHES: [&str; 7] =
    ["TCP", "sock_inode_cache", "dentry", "filp", "eventpoll_epi", "eventpoll_pwq", "request_sock_TCP"];

/// One look at the kernel's memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KernelSample {
    /// Bytes of active objects, for each of [`CACHES`] that exists.
    pub cache_bytes: BTreeMap<String, u64>,
    /// Bytes of active objects in all caches. 0 where `/proc/slabinfo` cannot be read (it is root's).
    pub slab_bytes: u64,
    /// Buffer memory of TCP sockets in bytes: `mem` of `/proc/net/sockstat` times the page size.
    pub tcp_buffer_bytes: u64,
    /// TCP sockets in use.
    pub tcp_sockets: u64,
}

/// Samples the kernel now. What cannot be read is 0.
pub fn sample() -> KernelSample {
    let mut sample = KernelSample::default();
    parse_slabinfo(&fs::read_to_string("/proc/slabinfo").unwrap_or_default(), &mut sample);
    let page_bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    parse_sockstat(&sockstat, page_bytes as u64, &mut sample);
    sample
}

/// Adds the active bytes of every cache in the text of `/proc/slabinfo` (version 2.1: name,
/// active objects, objects, object bytes, …).
fn parse_slabinfo(text: &str, sample: &mut KernelSample) {
    for line in text.lines().skip(2) {
        let mut fields = line.split_ascii_whitespace();
        let (Some(name), Some(active), Some(_objects), Some(object_bytes)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (Ok(active), Ok(object_bytes)) = (active.parse::<u64>(), object_bytes.parse::<u64>()) else {
            continue;
        };
        let bytes = active * object_bytes;
        sample.slab_bytes += bytes;
        if CACHES.contains(&name) {
            sample.cache_bytes.insert(name.to_owned(), bytes);
        }
    }
}

/// Takes `inuse` and `mem` of the TCP line of `/proc/net/sockstat`.
fn parse_sockstat(text: &str, page_bytes: u64, sample: &mut KernelSample) {
    let Some(line) = text.lines().find_map(|line| line.strip_prefix("TCP: ")) else { return };
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    for pair in fields.chunks_exact(2) {
        let value = pair[1].parse::<u64>().unwrap_or(0);
        match pair[0] {
            "inuse" => sample.tcp_sockets = value,
            "mem" => sample.tcp_buffer_bytes = value * page_bytes,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLABINFO: &str = "slabinfo - version: 2.1\n\
        # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables …\n\
        TCPv6                 26     26   2496   13    8 : tunables    0    0    0 : slabdata 2 2 0\n\
        TCP                  100    130   2368   13    8 : tunables    0    0    0 : slabdata 2 2 0\n\
        filp                   3     21    192   21    1 : tunables    0    0    0 : slabdata 1 1 0\n\
        broken line\n";

    #[test]
    fn slabs_count_active_objects_and_name_the_caches_of_a_connection() {
        let mut sample = KernelSample::default();
        parse_slabinfo(SLABINFO, &mut sample);
        assert_eq!(sample.cache_bytes["TCP"], 100 * 2368);
        assert_eq!(sample.cache_bytes["filp"], 3 * 192);
        assert!(!sample.cache_bytes.contains_key("TCPv6"));
        assert_eq!(sample.slab_bytes, 26 * 2496 + 100 * 2368 + 3 * 192);
    }

    #[test]
    fn sockstat_gives_sockets_and_pages_as_bytes() {
        let text = "sockets: used 13\nTCP: inuse 7 orphan 0 tw 0 alloc 9 mem 3\nUDP: inuse 5 mem 8\n";
        let mut sample = KernelSample::default();
        parse_sockstat(text, 4096, &mut sample);
        assert_eq!((sample.tcp_sockets, sample.tcp_buffer_bytes), (7, 3 * 4096));
    }

    #[test]
    fn this_machine_can_be_sampled() {
        assert!(sample().cache_bytes.len() <= CACHES.len());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(sample().tcp_sockets >= 1);
        drop(listener);
    }
}
