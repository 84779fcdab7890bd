//! What a server that this run starts keeps of its rooms, and the directory it keeps it in.
//!
//! Every child has a data directory of its own, made fresh and removed with the server, so that no run
//! meets the streams of another and none touches the directory of a server that is in use.
//!
//! Absent on purpose: removal when the process ends without unwinding (a second Ctrl-C). The child may
//! still be writing then; what stays is a directory whose name says where it is from.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use serde::Serialize;

use super::settings::{ROOMS, Settings};

/// When the child says that a publication is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once it is on the disk.
    Fsync,
    /// Once the operating system has it.
    Os,
    /// Once it is in the server's memory.
    Memory,
}

impl Durability {
    /// Their names, in the order of what they promise.
    pub const NAMES: [&str; 3] = ["fsync", "os", "memory"];

    /// The one of that `name`, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Fsync, Self::Os, Self::Memory];
        Self::NAMES.iter().position(|known| *known == name).map(|at| all[at])
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Whether anything of it reaches a disk.
    pub fn is_on_disk(self) -> bool {
        self != Self::Memory
    }
}

/// Rooms with a history, whose members recover.
#[derive(Debug, Clone)]
pub struct Keep {
    /// When a publication counts as published.
    pub durability: Durability,
    /// Publications kept of each room.
    pub history_size: u64,
    /// Where the data directory is made; `None`: in the current directory.
    pub parent: Option<PathBuf>,
}

/// Publications kept of each room unless asked otherwise: more than any client of a bench misses.
pub const HISTORY_SIZE: u64 = 1_000;

impl Keep {
    /// Rooms that keep [`HISTORY_SIZE`] publications.
    pub fn new(durability: Durability, parent: Option<PathBuf>) -> Self {
        Self { durability, history_size: HISTORY_SIZE, parent }
    }

    /// What a child needs for it.
    fn settings(&self) -> Settings {
        Settings::default()
            .with(ROOMS, "history_size", self.history_size)
            .with_text(ROOMS, "history_ttl", "24h")
            .with_text(ROOMS, "durability", self.durability.name())
            .with(ROOMS, "force_recovery", true)
    }
}

/// A directory of this run alone, removed when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one in `parent`.
    ///
    /// # Errors
    ///
    /// It cannot be made there: a sentence with the path.
    pub fn new(parent: &Path) -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("throng-bench-{}-{}", std::process::id(), MADE.fetch_add(1, SeqCst));
            let path = parent.join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                // Left there by a process of the same number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let parent = parent.display();
                    return Err(format!(
                        "no data directory can be made in {parent}: {error}; see --data-dir"
                    ));
                }
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

/// A data directory for a child, and the arguments by which it uses it, keeps its rooms as `keep` says and is
/// configured with `settings`.
///
/// # Errors
///
/// The directory or the configuration cannot be written, or there is something to configure and `serve_args`
/// have a `--config` already.
pub fn data_arguments(
    keep: Option<&Keep>,
    settings: &Settings,
    serve_args: &str,
) -> Result<(Scratch, Vec<String>), String> {
    let has = |option: &str| serve_args.split_whitespace().any(|word| word.split('=').next() == Some(option));
    let parent = match keep {
        Some(keep) => keep.parent.clone().unwrap_or_else(|| PathBuf::from(".")),
        // Nothing of a room is written, so it may be in memory.
        None => std::env::temp_dir(),
    };
    let scratch = Scratch::new(&parent)?;
    let path = |name: &str| scratch.path().join(name).to_string_lossy().into_owned();
    let mut arguments = Vec::new();
    if !has("--data") {
        arguments.extend(["--data".to_owned(), path("data")]);
    }
    let settings = keep.map(Keep::settings).unwrap_or_default().and(settings);
    if !settings.is_empty() {
        if has("--config") || has("-c") {
            return Err(
                "--serve-args has a --config, but what this run asks for needs one of the run's own: \
                        start a server with yours and give it as --target"
                    .to_owned(),
            );
        }
        let config = path("throng.toml");
        fs::write(&config, settings.file())
            .map_err(|error| format!("{config} cannot be written: {error}"))?;
        arguments.extend(["--config".to_owned(), config]);
    }
    Ok((scratch, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_durability_has_its_name_and_no_other_word_is_one() {
        for name in Durability::NAMES {
            assert_eq!(Durability::named(name).unwrap().name(), name);
        }
        assert_eq!(Durability::named("disk"), None);
    }

    #[test]
    fn a_directory_is_fresh_has_the_configuration_and_is_gone_with_its_owner() {
        let keep = Keep::new(Durability::Os, Some(std::env::temp_dir()));
        let (scratch, arguments) = data_arguments(Some(&keep), &Settings::default(), "--shards 2").unwrap();
        let (other, _) = data_arguments(Some(&keep), &Settings::default(), "").unwrap();
        assert_ne!(scratch.path(), other.path());
        let [data, directory, option, config] = arguments.as_slice() else { panic!("{arguments:?}") };
        assert_eq!((data.as_str(), option.as_str()), ("--data", "--config"));
        assert!(Path::new(directory).starts_with(scratch.path()));
        let text = fs::read_to_string(config).unwrap();
        assert!(text.contains("durability = \"os\"") && text.contains("history_size = 1000"), "{text}");
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn rooms_without_history_need_no_configuration_and_what_the_user_gave_stays() {
        let (_, arguments) = data_arguments(None, &Settings::default(), "--data=/x --config y").unwrap();
        assert!(arguments.is_empty(), "{arguments:?}");
        let keep = Keep::new(Durability::Fsync, Some(std::env::temp_dir()));
        assert!(
            data_arguments(Some(&keep), &Settings::default(), "--config y").unwrap_err().contains("--target")
        );
        let settings = Settings::default().with(ROOMS, "presence", true);
        assert!(data_arguments(None, &settings, "-c y").unwrap_err().contains("--target"));
        let nowhere = Keep::new(Durability::Fsync, Some(PathBuf::from("/nowhere")));
        assert!(data_arguments(Some(&nowhere), &Settings::default(), "").unwrap_err().contains("/nowhere"));
    }
}
