//! Where a process runs: on the host or in a container, and with which rights.
//!
//! The initial process and user namespaces have fixed numbers (Linux `include/uapi/linux/nsfs.h`,
//! before that `include/linux/proc_ns.h`). The initial network namespace is the one that has
//! `net.ipv4.tcp_mem`: that key is registered for no other (Linux `net/ipv4/sysctl_net_ipv4.c`).
//!
//! A user namespace alone makes no container: systemd gives one to every service with `PrivateUsers=`,
//! in which root and the service's user are who they are outside.

use super::sysctl::{Scope, named};
use crate::host::tree::{Tree, Unreadable, Why};

/// What the initial process namespace is called. Source: Linux `PROC_PID_INIT_INO`, 0xEFFFFFFC.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// A key of the initial network namespace alone.
const KEY_OF_INITIAL_NETWORK: &str = "/proc/sys/net/ipv4/tcp_mem";

/// Bit of CAP_SYS_ADMIN in a set of capabilities. Source: capabilities(7), linux/capability.h.
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Where a process runs and what it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `/proc` is mounted. Where it is not, nothing but that is known of anything.
    pub has_proc: bool,
    /// It has a process namespace of its own, or a user namespace whose root is somebody else
    /// outside: the keys of the host are not its to set.
    pub in_container: bool,
    /// Its network namespace is the host's own.
    pub in_initial_network: bool,
    /// It has CAP_SYS_ADMIN towards the whole box, which some limits do not bind.
    pub is_admin: bool,
    /// Its effective user in its own namespace.
    pub user: Option<u64>,
}

impl Place {
    /// Where the process of directory `process`, such as `/proc/self`, runs. What cannot be read is
    /// taken for a host without rights: limits then count that perhaps do not bind.
    pub fn of(tree: &Tree, process: &str) -> Self {
        let status = format!("{process}/status");
        let users = tree.numbers::<u64>(&format!("{process}/uid_map")).ok();
        let is_initial_user = users.as_ref().is_none_or(|map| map[..] == [0, 0, u64::from(u32::MAX)]);
        // Each line: first user inside, first user outside, how many. Source: user_namespaces(7).
        let has_other_root =
            users.is_some_and(|map| map.chunks_exact(3).any(|line| line[0] == 0 && line[1] != 0));
        let capabilities =
            tree.field(&status, "CapEff").ok().and_then(|hex| u64::from_str_radix(&hex, 16).ok());
        Place {
            has_proc: tree.exists("/proc/self") || tree.exists("/proc/sys"),
            in_container: has_own_pids(tree, process) || has_other_root,
            in_initial_network: tree.exists(KEY_OF_INITIAL_NETWORK),
            is_admin: is_initial_user && capabilities.is_some_and(|set| set & CAP_SYS_ADMIN != 0),
            user: effective_user(tree, &status),
        }
    }

    /// Whether a key that is missing is one that the kernel does not have, rather than one that is hidden.
    pub fn shows_all(&self) -> bool {
        self.in_initial_network && !self.in_container
    }

    /// Why `error` happened, with what this place has to do with it.
    pub fn explain(&self, error: &Unreadable) -> String {
        let is_network = error.path.starts_with("/proc/sys/net/");
        match error.why {
            Why::Missing if !self.has_proc && error.path.starts_with("/proc/") => {
                format!("{error}: /proc is not mounted")
            }
            Why::Missing if is_network && !self.in_initial_network => format!(
                "{error}: a network namespace of its own does not show it; ask in the host's (`throng doctor` there)"
            ),
            Why::Missing if self.in_container => {
                format!("{error}: the container hides it; ask on the host (`throng doctor` there)")
            }
            Why::Missing => format!("{error}: an older kernel, or one that was built without it"),
            Why::Forbidden => format!("{error}; run as root or as the user of the process"),
            Why::Unexpected(_) | Why::Failed(_) => error.to_string(),
        }
    }

    /// The command that sets `key` to `value`, and where it has to be given.
    pub fn set(&self, key: &str, value: &str) -> String {
        let quoted =
            if value.contains(char::is_whitespace) { format!("\"{value}\"") } else { value.to_owned() };
        let command = format!("`sysctl -w {key}={quoted}`");
        let scope = named(key).map_or(Scope::Box, |setting| setting.scope);
        let is_elsewhere = self.in_container || (key.starts_with("net.") && !self.in_initial_network);
        match scope {
            Scope::Box if is_elsewhere => format!("on the host: {command}"),
            Scope::Namespace if self.in_container => format!(
                "{command} in the container's network namespace, as by `docker run --sysctl {key}={quoted}`"
            ),
            Scope::Box | Scope::Namespace => command,
        }
    }
}

/// Whether the process has a process namespace of its own. Another user's link may not be read; its
/// status tells a number for each namespace below the reader's.
fn has_own_pids(tree: &Tree, process: &str) -> bool {
    match tree.link(&format!("{process}/ns/pid")) {
        Ok(link) => link != INITIAL_PID_NAMESPACE,
        Err(_) => {
            let numbers = tree.field(&format!("{process}/status"), "NSpid");
            numbers.is_ok_and(|numbers| numbers.split_ascii_whitespace().count() > 1)
        }
    }
}

/// The effective user that a `status` file names: `Uid: real effective saved file-system`.
pub fn effective_user(tree: &Tree, status: &str) -> Option<u64> {
    tree.field(status, "Uid").ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}
