//! The files of `--apply`: written whole or not at all, and read back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

/// Puts `text` into `path`: what is there is replaced once the new text is on the disk.
///
/// # Errors
///
/// A file cannot be made beside it, written or renamed. What was there is there still.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    // Not `*.conf`, so that nobody reads one that a crash left.
    let new = path.with_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&new, path)) {
        drop(fs::remove_file(&new));
        return Err(error);
    }
    // The rename is on the disk once its directory is.
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// The text of `path`, if there is such a file.
///
/// # Errors
///
/// It is there and cannot be read.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
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
