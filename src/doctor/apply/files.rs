//! The files of `--apply`: written whole or not at all, and read back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::host::tree::read_regular;

/// Bytes read of one file at most; what throng writes is some thousand.
const BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Files that crashes of processes of one number may have left beside one before it is given up.
const LEFT_MAX: u32 = 100;

/// Puts `text` into `path`: what is there is replaced once the new text is on the disk.
///
/// # Errors
///
/// A file cannot be made beside it, written or renamed. What was there is there still.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let (new, mut file) = create_beside(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&new, path)) {
        drop(fs::remove_file(&new));
        return Err(error);
    }
    // The rename is on the disk once its directory is.
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Makes a file beside `path` that was not there: another process writes into one of its own, and a link
/// of that name is not followed.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut number = 0;
    loop {
        // Not `*.conf`, so that nobody reads one that a crash left.
        let new = path.with_file_name(format!("{name}.{}-{number}.new", std::process::id()));
        match File::create_new(&new) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && number < LEFT_MAX => number += 1,
            made => return made.map(|file| (new, file)),
        }
    }
}

/// Waits until nobody else changes the files of `directory` by this function, and keeps others from it
/// for as long as what is returned is there.
///
/// # Errors
///
/// It cannot be opened, or its file system knows no locks.
pub fn lock(directory: &Path) -> io::Result<File> {
    let directory = File::open(directory)?;
    directory.lock()?;
    Ok(directory)
}

/// The text of `path`, if there is such a file.
///
/// # Errors
///
/// It is there and cannot be read, or is no regular file.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    match read_regular(path, BYTES_MAX) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keys and values of a file in the form of sysctl.conf(5).
pub fn assignments(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| {
            let key = key.trim().trim_start_matches('-').trim().replace('/', ".");
            (key, value.trim().to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_sysctl_reads_it() {
        let text = "# a = 1\n; b = 2\n\n -c.d = 3 4 \ne/f=5\nnothing\n";
        let expected = [("c.d", "3 4"), ("e.f", "5")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(assignments(text), expected.into());
    }

    #[test]
    fn what_lies_beside_a_file_is_neither_written_nor_followed() {
        let directory = std::env::temp_dir().join(format!("throng-apply-beside-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (path, other) = (directory.join("90-throng.undo"), directory.join("other"));
        fs::write(&other, "as it was").unwrap();
        let links = ["90-throng.new".to_owned(), format!("90-throng.undo.{}-0.new", std::process::id())];
        for link in &links {
            std::os::unix::fs::symlink(&other, directory.join(link)).unwrap();
        }
        replace(&path, "a = 1\n").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("a = 1\n"));
        assert_eq!(fs::read_to_string(&other).unwrap(), "as it was");
        assert!(links.iter().all(|link| directory.join(link).is_symlink()));
        assert_ne!(create_beside(&path).unwrap().0, create_beside(&path).unwrap().0);
        drop(fs::remove_dir_all(&directory));
    }

    #[test]
    fn a_file_is_replaced_whole_and_no_part_is_left() {
        let directory = std::env::temp_dir().join(format!("throng-apply-files-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("90-throng.conf");
        assert_eq!(read(&path).unwrap(), None);
        replace(&path, "a = 1\n").unwrap();
        replace(&path, "b = 2\n").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("b = 2\n"));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        // A directory in its place: nothing is written, and nothing is left of the attempt.
        let taken = directory.join("taken.conf");
        fs::create_dir(&taken).unwrap();
        replace(&taken, "a = 1\n").unwrap_err();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
        drop(fs::remove_dir_all(&directory));
    }
}
