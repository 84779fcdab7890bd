//! Why a key cannot be written, in words that say what to do.

use std::io::{self, ErrorKind};

use crate::doctor::place::Place;
use crate::doctor::sysctl::{Scope, Setting};
use crate::host::tree::Tree;

/// What is known of whoever writes: it decides what an error means.
#[derive(Debug, Clone, Copy)]
pub struct Writer {
    /// Whether the process is root, in its user namespace.
    is_root: bool,
    /// Whether its network namespace is not the initial one.
    is_in_namespace: bool,
    /// Whether it sees keys at all.
    has_proc: bool,
}

impl Writer {
    /// The process that `tree` shows as itself.
    pub fn of(tree: &Tree) -> Self {
        let place = Place::of(tree, "/proc/self");
        Writer {
            is_root: place.user.is_none_or(|user| user == 0),
            is_in_namespace: !place.in_initial_network,
            has_proc: place.has_proc,
        }
    }

    /// What `error` of opening or writing the key of `setting` means.
    pub fn hindrance(self, setting: &Setting, error: &io::Error) -> String {
        match error.raw_os_error() {
            Some(libc::EROFS) if self.is_in_namespace && setting.scope == Scope::Namespace => {
                "/proc/sys is read-only here, as in a container: give the container its own \
                 (`docker run --sysctl KEY=VALUE`)"
                    .to_owned()
            }
            Some(libc::EROFS) => {
                "/proc/sys is read-only here, as in a container: set it on the host".to_owned()
            }
            Some(libc::EACCES | libc::EPERM) if !self.is_root => {
                "only root may write it: run this as root".to_owned()
            }
            Some(libc::EACCES | libc::EPERM) => "it is the initial namespaces' and may not be written from \
                 here: set it on the host"
                .to_owned(),
            Some(libc::EINVAL) => "the kernel does not take this value (EINVAL)".to_owned(),
            Some(libc::ENOMEM) => "the kernel has no memory for this value (ENOMEM)".to_owned(),
            _ if error.kind() == ErrorKind::NotFound => "it is gone".to_owned(),
            _ => format!("it cannot be written: {error}"),
        }
    }

    /// What it means that `key` is not there.
    pub fn absence(self, key: &str) -> String {
        if !self.has_proc {
            return "/proc is not mounted: `mount -t proc proc /proc`, as root".to_owned();
        }
        if key.starts_with("net.netfilter.") {
            return "the module nf_conntrack is not loaded: nothing is tracked, and nothing is needed"
                .to_owned();
        }
        if key.starts_with("net.") && self.is_in_namespace {
            return "this network namespace does not have it: set it on the host (if the kernel there has it)"
                .to_owned();
        }
        "this kernel does not have it".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sysctl::named;

    const ROOT: Writer = Writer { is_root: true, is_in_namespace: false, has_proc: true };

    fn said(writer: Writer, code: i32) -> String {
        said_of("net.core.somaxconn", writer, code)
    }

    fn said_of(key: &str, writer: Writer, code: i32) -> String {
        writer.hindrance(named(key).unwrap(), &io::Error::from_raw_os_error(code))
    }

    #[test]
    fn each_error_says_what_to_do() {
        let user = Writer { is_root: false, ..ROOT };
        // A container may have the keys of its network namespace; the others are the host's.
        let inside = Writer { is_in_namespace: true, ..ROOT };
        assert!(said(inside, libc::EROFS).contains("docker run --sysctl"));
        assert!(said(ROOT, libc::EROFS).ends_with("set it on the host"));
        for key in ["net.core.wmem_max", "fs.file-max"] {
            assert!(said_of(key, inside, libc::EROFS).ends_with("set it on the host"), "{key}");
        }
        for code in [libc::EACCES, libc::EPERM] {
            assert_eq!(said(user, code), "only root may write it: run this as root");
            assert!(said(ROOT, code).ends_with("set it on the host"));
        }
        assert!(said(ROOT, libc::EINVAL).contains("does not take this value"));
        assert_eq!(said(ROOT, libc::ENOENT), "it is gone");
        assert!(said(ROOT, libc::EISDIR).contains("Is a directory"));
    }

    #[test]
    fn a_key_that_is_not_there_says_who_has_it() {
        let inside = Writer { is_in_namespace: true, ..ROOT };
        assert!(inside.absence("net.ipv4.tcp_mem").starts_with("this network namespace"));
        assert!(inside.absence("net.netfilter.nf_conntrack_max").contains("nothing is tracked"));
        let blind = Writer { has_proc: false, ..inside };
        for key in ["net.ipv4.tcp_mem", "net.netfilter.nf_conntrack_max", "fs.nr_open"] {
            assert!(blind.absence(key).starts_with("/proc is not mounted"), "{key}");
        }
        assert_eq!(inside.absence("fs.nr_open"), "this kernel does not have it");
        assert_eq!(ROOT.absence("net.ipv4.tcp_migrate_req"), "this kernel does not have it");
    }
}
