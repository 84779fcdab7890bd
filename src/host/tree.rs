//! What the kernel says of a box: the files under `/proc` and `/sys`, live or as a recorded copy.
//!
//! Everything that `throng doctor` judges comes through a [`Tree`], so a directory of text files
//! shows it a whole box. A path always starts with a slash and is what it would be on the box.
//!
//! Absent on purpose: a default for what cannot be read. Whoever asks says what follows from that.

use std::fmt::{self, Display};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Bytes read of one file at most. The longest, `/proc/interrupts`, has a column for each processor.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Characters of an unexpected text that an error shows.
const SHOWN_CHARS_MAX: usize = 40;

/// A box's `/proc` and `/sys`.
#[derive(Debug, Clone)]
pub struct Tree {
    root: PathBuf,
}

/// What could not be read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The file on the box, such as `/proc/sys/fs/file-max`.
    pub path: String,
    /// Why.
    pub why: Why,
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// There is no such file: another kernel, a namespace without it, or a process that is gone.
    Missing,
    /// The kernel or a security module refused.
    Forbidden,
    /// The file is there and says something else than what was expected: the text, shortened.
    Unexpected(String),
    /// Any other error of the kernel, in its words.
    Failed(String),
}

impl Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.why {
            Why::Missing => write!(f, "{path} does not exist here"),
            Why::Forbidden => write!(f, "{path} may not be read by this user"),
            Why::Unexpected(text) => write!(f, "{path} says `{text}`, which is not what it should hold"),
            Why::Failed(error) => write!(f, "{path} cannot be read: {error}"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl Tree {
    /// The box that this process runs on.
    pub fn live() -> Self {
        Tree { root: PathBuf::from("/") }
    }

    /// A box whose `/proc` and `/sys` were copied to `root`.
    pub fn recorded(root: impl Into<PathBuf>) -> Self {
        Tree { root: root.into() }
    }

    /// Whether this is the box that the process runs on.
    pub fn is_live(&self) -> bool {
        self.root.as_os_str() == "/"
    }

    /// The whole text of a file, without white space at its ends.
    ///
    /// # Errors
    ///
    /// It cannot be opened or read.
    pub fn text(&self, path: &str) -> Result<String, Unreadable> {
        let bytes =
            read_regular(&self.place(path), FILE_BYTES_MAX).map_err(|error| unreadable(path, &error))?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// The one number that a file holds.
    ///
    /// # Errors
    ///
    /// It cannot be read, or holds anything else.
    pub fn number<N: FromStr>(&self, path: &str) -> Result<N, Unreadable> {
        let text = self.text(path)?;
        text.parse().map_err(|_| unexpected(path, &text))
    }

    /// The numbers that a file holds, with white space between them; one at least.
    ///
    /// # Errors
    ///
    /// It cannot be read, is empty or holds anything else.
    pub fn numbers<N: FromStr>(&self, path: &str) -> Result<Vec<N>, Unreadable> {
        let text = self.text(path)?;
        let numbers: Result<Vec<N>, _> = text.split_ascii_whitespace().map(str::parse).collect();
        numbers.ok().filter(|numbers| !numbers.is_empty()).ok_or_else(|| unexpected(path, &text))
    }

    /// What follows `name:` on its line of a file such as `/proc/meminfo` or `/proc/self/status`.
    ///
    /// # Errors
    ///
    /// It cannot be read or has no such line.
    pub fn field(&self, path: &str, name: &str) -> Result<String, Unreadable> {
        let text = self.text(path)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned()).ok_or_else(|| unexpected(path, &format!("no {name}")))
    }

    /// A line such as `MemAvailable:   24061480 kB`, in bytes.
    ///
    /// # Errors
    ///
    /// As [`Tree::field`], or the line holds no such size.
    pub fn size_bytes(&self, path: &str, name: &str) -> Result<u64, Unreadable> {
        let value = self.field(path, name)?;
        let kib = value.strip_suffix("kB").and_then(|kib| kib.trim().parse::<u64>().ok());
        kib.and_then(|kib| kib.checked_mul(1024)).ok_or_else(|| unexpected(path, &value))
    }

    /// The text of a sysctl key such as `net.ipv4.tcp_mem`.
    ///
    /// # Errors
    ///
    /// As [`Tree::text`].
    pub fn sysctl(&self, key: &str) -> Result<String, Unreadable> {
        self.text(&sysctl_path(key))
    }

    /// Names in a directory, in order.
    ///
    /// # Errors
    ///
    /// It cannot be listed.
    pub fn entries(&self, path: &str) -> Result<Vec<String>, Unreadable> {
        let list = || -> io::Result<Vec<String>> {
            let entries = fs::read_dir(self.place(path))?;
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        let mut names = list().map_err(|error| unreadable(path, &error))?;
        names.sort();
        Ok(names)
    }

    /// What a symbolic link says, such as `net:[4026531833]` for `/proc/self/ns/net`.
    ///
    /// # Errors
    ///
    /// It is none or may not be read.
    pub fn link(&self, path: &str) -> Result<String, Unreadable> {
        let target = fs::read_link(self.place(path)).map_err(|error| unreadable(path, &error))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// Whether there is such a file, be it readable or not.
    pub fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.place(path)).is_ok()
    }

    /// Open descriptors in a table, by its directory such as `/proc/1/task/1/fd`.
    ///
    /// Since Linux 6.2 the directory's size is their count; before, its entries are listed. A
    /// recorded tree has a file with the number in the directory's place, or the entries.
    /// Source: Linux `proc_readfd_count`.
    ///
    /// # Errors
    ///
    /// It may not be read, or the thread is gone.
    pub fn open_descriptors(&self, path: &str) -> Result<u64, Unreadable> {
        let known = fs::metadata(self.place(path)).map_err(|error| unreadable(path, &error))?;
        if known.is_file() {
            return self.number(path);
        }
        if self.is_live() && known.len() > 0 {
            return Ok(known.len());
        }
        Ok(self.entries(path)?.len() as u64)
    }

    /// Where a file of the box is on this machine.
    pub fn place(&self, path: &str) -> PathBuf {
        assert!(path.starts_with('/'), "{path} is not a path on the box");
        self.root.join(&path[1..])
    }
}

/// The first `bytes_max` bytes of a regular file, which everything under `/proc` and `/sys` is.
///
/// # Errors
///
/// It cannot be opened or read, or is of another kind: a pipe would be waited for without end, and
/// opening a device may do something.
pub fn read_regular(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    // Should a pipe have taken its place since, opening it waits for nobody.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The file of a sysctl key: `net.ipv4.tcp_mem` is `/proc/sys/net/ipv4/tcp_mem`.
pub fn sysctl_path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

fn unreadable(path: &str, error: &io::Error) -> Unreadable {
    let why = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Why::Missing,
        ErrorKind::PermissionDenied => Why::Forbidden,
        // What the kernel answers for the files of a process that has just ended.
        _ if error.raw_os_error() == Some(libc::ESRCH) => Why::Missing,
        _ => Why::Failed(error.to_string()),
    };
    Unreadable { path: path.to_owned(), why }
}

/// A file that says something else than what was expected.
pub fn unexpected(path: &str, text: &str) -> Unreadable {
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    Unreadable { path: path.to_owned(), why: Why::Unexpected(shown.replace('\n', " ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recorded tree of its own for one test.
    fn tree(name: &str, files: &[(&str, &str)]) -> Tree {
        let root = std::env::temp_dir().join(format!("throng-tree-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        for (path, text) in files {
            let place = root.join(&path[1..]);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
        }
        Tree::recorded(root)
    }

    #[test]
    fn a_recorded_box_says_what_its_files_hold() {
        let tree = tree(
            "holds",
            &[
                ("/proc/sys/net/ipv4/tcp_mem", "1\t2\t3\n"),
                ("/proc/sys/net/ipv4/tcp_ehash_entries", "-4\n"),
                ("/proc/meminfo", "MemTotal: 8 kB\nMemAvailable:   5 kB\n"),
                ("/proc/7/task/7/fd", "19987"),
                ("/proc/7/task/8/fd/0", ""),
            ],
        );
        assert!(!tree.is_live());
        assert_eq!(tree.sysctl("net.ipv4.tcp_mem").unwrap(), "1\t2\t3");
        assert_eq!(tree.numbers::<u64>("/proc/sys/net/ipv4/tcp_mem").unwrap(), [1, 2, 3]);
        assert_eq!(tree.number::<i64>("/proc/sys/net/ipv4/tcp_ehash_entries").unwrap(), -4);
        assert_eq!(tree.size_bytes("/proc/meminfo", "MemAvailable").unwrap(), 5 * 1024);
        assert_eq!(tree.entries("/proc/7/task").unwrap(), ["7", "8"]);
        assert_eq!(tree.open_descriptors("/proc/7/task/7/fd").unwrap(), 19_987);
        assert_eq!(tree.open_descriptors("/proc/7/task/8/fd").unwrap(), 1);
        assert!(tree.exists("/proc/meminfo") && !tree.exists("/proc/mem"));
        drop(fs::remove_dir_all(&tree.root));
    }

    #[test]
    fn what_cannot_be_read_says_which_file_and_why() {
        let tree = tree("why", &[("/proc/sys/fs/file-max", "many\n"), ("/proc/empty", "")]);
        let said = |error: Unreadable| error.to_string();
        assert_eq!(said(tree.sysctl("fs.nr_open").unwrap_err()), "/proc/sys/fs/nr_open does not exist here");
        assert_eq!(tree.text("/proc/empty/below").unwrap_err().why, Why::Missing);
        let garbage = tree.number::<u64>("/proc/sys/fs/file-max").unwrap_err();
        assert_eq!(said(garbage), "/proc/sys/fs/file-max says `many`, which is not what it should hold");
        assert_eq!(tree.numbers::<u64>("/proc/empty").unwrap_err().why, Why::Unexpected(String::new()));
        assert_eq!(
            tree.field("/proc/sys/fs/file-max", "Max").unwrap_err().why,
            Why::Unexpected("no Max".to_owned())
        );
        assert!(matches!(tree.text("/proc/sys").unwrap_err().why, Why::Failed(_)), "a directory has no text");
        drop(fs::remove_dir_all(&tree.root));
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let tree = tree("pipe", &[("/proc/version", "")]);
        let made = std::process::Command::new("mkfifo").arg(tree.place("/proc/meminfo")).status().unwrap();
        assert!(made.success());
        let error = tree.field("/proc/meminfo", "MemTotal").unwrap_err();
        assert_eq!(error.to_string(), "/proc/meminfo cannot be read: it is no regular file");
        drop(fs::remove_dir_all(&tree.root));
    }

    #[test]
    fn a_forbidden_file_is_told_from_a_missing_one() {
        let error = unreadable("/proc/1/fd", &io::Error::from_raw_os_error(libc::EACCES));
        assert_eq!(error.to_string(), "/proc/1/fd may not be read by this user");
        let gone = unreadable("/proc/1/status", &io::Error::from_raw_os_error(libc::ESRCH));
        assert_eq!(gone.why, Why::Missing);
    }

    #[test]
    fn this_box_says_what_it_has() {
        let tree = Tree::live();
        assert!(tree.is_live());
        assert!(tree.size_bytes("/proc/meminfo", "MemAvailable").unwrap() > 0);
        assert!(tree.open_descriptors("/proc/self/fd").unwrap() > 2);
        assert!(tree.link("/proc/self/ns/net").unwrap().starts_with("net:["));
    }
}
