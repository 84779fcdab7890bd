//! Why a key cannot be written, in words that say what to do.

use std::io::{self, ErrorKind};

use crate::host::tree::Tree;

/// What is known of whoever writes: it decides what an error means.
#[derive(Debug, Clone, Copy)]
pub struct Writer {
    /// Whether the process is root, in its user namespace.
    is_root: bool,
    /// Whether the network namespace is not the initial one, which alone has `net.ipv4.tcp_mem`.
    is_in_namespace: bool,
}

impl Writer {
    /// The process that `tree` shows as itself.
    pub fn of(tree: &Tree) -> Self {
        // The second number is the effective user. Source: proc(5).
        let user = tree.field("/proc/self/status", "Uid").ok();
        let effective = user.as_deref().and_then(|user| user.split_ascii_whitespace().nth(1));
        Writer {
            is_root: effective.is_none_or(|user| user == "0"),
            is_in_namespace: tree.sysctl("net.ipv4.tcp_rmem").is_ok()
                && tree.sysctl("net.ipv4.tcp_mem").is_err(),
        }
    }

    /// What `error` of opening or writing a key means.
    pub fn hindrance(self, error: &io::Error) -> String {
        match error.raw_os_error() {
            Some(libc::EROFS) => {
                "/proc/sys is read-only here, as in a container: set it on the host, or give \
                 the container its own (`docker run --sysctl KEY=VALUE`; only keys of net.* that the \
                 network namespace has)"
                    .to_owned()
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

    const ROOT: Writer = Writer { is_root: true, is_in_namespace: false };

    fn said(writer: Writer, code: i32) -> String {
        writer.hindrance(&io::Error::from_raw_os_error(code))
    }

    #[test]
    fn each_error_says_what_to_do() {
        let user = Writer { is_root: false, ..ROOT };
        assert!(said(ROOT, libc::EROFS).contains("docker run --sysctl"));
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
        assert_eq!(inside.absence("fs.nr_open"), "this kernel does not have it");
        assert_eq!(ROOT.absence("net.ipv4.tcp_migrate_req"), "this kernel does not have it");
    }
}
