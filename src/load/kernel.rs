//! What the kernel holds, all of it that can grow with connections: slabs by cache, blocks too large
//! for a slab, vmalloc, per-CPU memory.
//!
//! The figures are of the whole machine. On a quiet one the growth between two samples is the
//! connections'; both ends of a pair count when both are on it. No list of caches is kept here: caches
//! of one size may share a name, and a list would hide what it does not know.
//!
//! Invariant: no byte is in two of [`KernelSample::parts`] and the slack. Kernel stacks are mapped by
//! vmalloc and page tables are counted per process ([`super::probe::Memory`]), so neither stands here.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

/// The part of [`KernelSample::parts`] that is no cache's: blocks over 8 KiB from `kmalloc`, which
/// come from the page allocator, such as descriptor tables. Source: Linux `KMALLOC_MAX_CACHE_SIZE`.
pub const LARGE_BLOCKS: &str = "blocks over 8 KiB (descriptor tables)";
/// The part that `vmalloc` mapped.
pub const VMALLOC: &str = "vmalloc (stacks, tables)";
/// The part that exists once per CPU.
pub const PER_CPU: &str = "per-CPU memory";

/// One look at the kernel's memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KernelSample {
    /// Bytes of active objects by slab cache. Empty where `/proc/slabinfo` cannot be read (it is root's).
    pub cache_bytes: BTreeMap<String, u64>,
    /// Bytes of all pages that slabs take: free objects and the rests of pages included.
    pub slab_page_bytes: u64,
    /// `Slab:` of `/proc/meminfo`: pages of slabs and of blocks too large for one.
    pub slab_bytes: u64,
    /// `VmallocUsed:`.
    pub vmalloc_bytes: u64,
    /// `Percpu:`.
    pub per_cpu_bytes: u64,
    /// `MemAvailable:`.
    pub available_bytes: u64,
    /// Buffer memory of TCP sockets: `mem` of `/proc/net/sockstat` times the page size. Its buffers are
    /// slabs and pages, so this is a second view of bytes that are counted already.
    pub tcp_buffer_bytes: u64,
    /// TCP sockets in use.
    pub tcp_sockets: u64,
}

impl KernelSample {
    /// Whether the caches could be read.
    pub fn has_caches(&self) -> bool {
        !self.cache_bytes.is_empty()
    }

    /// Every part by name, in bytes: what objects and blocks hold that are in use.
    pub fn parts(&self) -> impl Iterator<Item = (&str, u64)> {
        let large = self.slab_bytes.saturating_sub(self.slab_page_bytes);
        let caches = self.cache_bytes.iter().map(|(name, bytes)| (name.as_str(), *bytes));
        caches.chain([(LARGE_BLOCKS, large), (VMALLOC, self.vmalloc_bytes), (PER_CPU, self.per_cpu_bytes)])
    }

    /// Bytes of all parts.
    pub fn used_bytes(&self) -> u64 {
        self.parts().map(|(_, bytes)| bytes).sum()
    }

    /// Bytes of slab pages that no active object holds.
    pub fn slack_bytes(&self) -> u64 {
        self.slab_page_bytes.saturating_sub(self.cache_bytes.values().sum())
    }
}

/// Samples the kernel now. What cannot be read is 0.
pub fn sample() -> KernelSample {
    // Counters of pages are kept per CPU and folded once a second; this folds them now. Only root may,
    // and without it the figures are a second old.
    let _ = fs::write("/proc/sys/vm/stat_refresh", "1");
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let page_bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    let mut sample = KernelSample::default();
    parse_slabinfo(&read("/proc/slabinfo"), page_bytes as u64, &mut sample);
    parse_meminfo(&read("/proc/meminfo"), &mut sample);
    parse_sockstat(&read("/proc/net/sockstat"), page_bytes as u64, &mut sample);
    sample
}

/// Caches of a connection that are small enough for the kernel to merge them with others of their size;
/// `/proc/slabinfo` then tells of them under another's name.
const MERGED_CACHES: [&str; 5] =
    ["eventpoll_epi", "eventpoll_pwq", "ep_head", "tcp_bind_bucket", "tcp_bind2_bucket"];

/// Which of a connection's caches hide behind the cache `name`, by the links in `/sys/kernel/slab`.
pub fn merged_into(name: &str) -> Vec<&'static str> {
    let link = |name: &str| fs::read_link(format!("/sys/kernel/slab/{name}")).ok();
    let Some(own) = link(name) else { return Vec::new() };
    MERGED_CACHES.into_iter().filter(|other| *other != name && link(other).as_ref() == Some(&own)).collect()
}

/// Connections that wait to be accepted by the listeners on `port` of this machine's IPv4 addresses.
///
/// The kernel lists listeners before all other sockets, so a few kilobytes tell, however many
/// connections there are. Source: Linux `tcp_get_info`, `tcp4_seq_show`.
pub fn accept_queue(port: u16) -> u64 {
    use std::io::Read;

    let mut text = String::new();
    let head = fs::File::open("/proc/net/tcp").map(|file| file.take(LISTENERS_BYTES_MAX));
    // Without the file there is nothing to wait for; a line that is cut is skipped below.
    let _ = head.and_then(|mut head| head.read_to_string(&mut text));
    parse_accept_queue(&text, port)
}

/// As much of `/proc/net/tcp` as holds the listeners of a thousand shards.
const LISTENERS_BYTES_MAX: u64 = 256 * 1024;

fn parse_accept_queue(text: &str, port: u16) -> u64 {
    let mut waiting = 0;
    for line in text.lines().skip(1) {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (Some(local), Some(_), Some(state), Some(queues)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if state != "0A" {
            break;
        }
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let is_ours = local.rsplit_once(':').and_then(|(_, text)| hex(text)) == Some(port.into());
        if is_ours {
            waiting += queues.split_once(':').and_then(|(_, received)| hex(received)).unwrap_or(0);
        }
    }
    waiting
}

/// Adds every cache in the text of `/proc/slabinfo`, version 2.1: name, active objects, objects, object
/// bytes, objects per slab, pages per slab, and after the second colon active slabs and slabs.
fn parse_slabinfo(text: &str, page_bytes: u64, sample: &mut KernelSample) {
    for line in text.lines().skip(2) {
        let mut sections = line.split(" : ");
        let mut fields = sections.next().unwrap_or_default().split_ascii_whitespace();
        let Some(name) = fields.next() else { continue };
        let numbers: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
        let slabs =
            sections.nth(1).and_then(|data| data.split_ascii_whitespace().nth(2)?.parse::<u64>().ok());
        let (&[active, _, object_bytes, _, pages], Some(slabs)) = (numbers.as_slice(), slabs) else {
            continue;
        };
        *sample.cache_bytes.entry(name.to_owned()).or_default() += active * object_bytes;
        sample.slab_page_bytes += slabs * pages * page_bytes;
    }
}

fn parse_meminfo(text: &str, sample: &mut KernelSample) {
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let kib = value.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        let bytes = kib.unwrap_or(0) * 1024;
        match name {
            "Slab" => sample.slab_bytes = bytes,
            "VmallocUsed" => sample.vmalloc_bytes = bytes,
            "Percpu" => sample.per_cpu_bytes = bytes,
            "MemAvailable" => sample.available_bytes = bytes,
            _ => {}
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
        TCPv6                 26     26   2496   13    8 : tunables    0    0    0 : slabdata      2      2      0\n\
        TCP                  100    130   2368   13    8 : tunables    0    0    0 : slabdata     10     10      0\n\
        broken line\n";
    const MEMINFO: &str =
        "MemTotal: 9 kB\nMemAvailable: 8 kB\nSlab: 500 kB\nVmallocUsed: 7 kB\nPercpu: 6 kB\n";

    #[test]
    fn slabs_count_active_objects_by_cache_and_the_pages_around_them() {
        let mut sample = KernelSample::default();
        parse_slabinfo(SLABINFO, 4096, &mut sample);
        let active = [("TCP".to_owned(), 100 * 2368), ("TCPv6".to_owned(), 26 * 2496)];
        assert_eq!(sample.cache_bytes, BTreeMap::from(active));
        assert_eq!(sample.slab_page_bytes, 12 * 8 * 4096);
        assert_eq!(sample.slack_bytes(), 12 * 8 * 4096 - 100 * 2368 - 26 * 2496);
    }

    #[test]
    fn parts_are_the_caches_and_what_is_in_no_slab() {
        let mut sample = KernelSample::default();
        parse_slabinfo(SLABINFO, 4096, &mut sample);
        parse_meminfo(MEMINFO, &mut sample);
        let parts: BTreeMap<_, _> = sample.parts().collect();
        assert_eq!(parts[LARGE_BLOCKS], 500 * 1024 - 12 * 8 * 4096);
        assert_eq!((parts[VMALLOC], parts[PER_CPU], sample.available_bytes), (7 * 1024, 6 * 1024, 8 * 1024));
        assert_eq!(sample.used_bytes(), parts.values().sum::<u64>());
    }

    #[test]
    fn sockstat_gives_sockets_and_pages_as_bytes() {
        let text = "sockets: used 13\nTCP: inuse 7 orphan 0 tw 0 alloc 9 mem 3\nUDP: inuse 5 mem 8\n";
        let mut sample = KernelSample::default();
        parse_sockstat(text, 4096, &mut sample);
        assert_eq!((sample.tcp_sockets, sample.tcp_buffer_bytes), (7, 3 * 4096));
    }

    #[test]
    fn connections_that_wait_are_summed_over_the_listeners_of_the_port() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            0: 0100007F:46A1 00000000:0000 0A 00000000:00000010 00:0 0\n\
            1: 0100007F:46A1 00000000:0000 0A 00000000:00000003 00:0 0\n\
            2: 0100007F:0050 00000000:0000 0A 00000000:00000007 00:0 0\n\
            3: 0100007F:46A1 0100007F:9999 01 00000000:00000001 00:0 0\n";
        assert_eq!(parse_accept_queue(text, 0x46A1), 19);
        assert_eq!(parse_accept_queue(text, 81), 0);
    }

    #[test]
    fn a_connection_that_nobody_accepts_is_seen_to_wait() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(accept_queue(address.port()), 1);
        assert!(sample().tcp_sockets >= 1 && sample().available_bytes > 0);
        drop(listener.accept().unwrap());
        assert_eq!(accept_queue(address.port()), 0);
    }
}
