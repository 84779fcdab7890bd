//! Carries a plan out: the file that undoes it first, then the drop-in, then the kernel, key by key.
//!
//! In this order, so that there is no moment at which a value is lost: whatever fails, the file that
//! undoes it is there before anything changes.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::hindrance::Writer;
use super::{Change, Plan, files};
use crate::doctor::sysctl::{Judgement, drop_in, named, settings};
use crate::host::tree::{Tree, sysctl_path};

/// The drop-in's name.
const DROP_IN: &str = "90-throng.conf";

/// What the drop-in's predecessor is kept as; not `*.conf`, so that nobody loads it.
const BEFORE: &str = "90-throng.conf.before";

/// The file with the values before the first `--apply`; not `*.conf` for the same reason.
const UNDO: &str = "90-throng.undo";

/// What was done, and what was not. Its `Display` says both, and how to undo it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The drop-in that was written.
    pub drop_in: PathBuf,
    /// Where the drop-in that was there is kept.
    pub before: Option<PathBuf>,
    /// The file that restores the values before the first `--apply`.
    pub undo: PathBuf,
    /// Keys that the kernel has taken.
    pub loaded: Vec<Change>,
    /// Keys that it has not, and why. They are not in the drop-in.
    pub refused: Vec<(Change, String)>,
}

/// A file could not be written; nothing was loaded.
#[derive(Debug)]
pub struct Failure {
    /// The file.
    pub path: PathBuf,
    /// What the kernel said.
    pub error: io::Error,
    target: u64,
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { path, error, target } = self;
        write!(
            f,
            "{} cannot be written: {error}. No setting was changed. To install them otherwise: \
             `throng doctor --target {target} --print-sysctl > FILE`, then `sysctl -p FILE` until the next boot, \
             or FILE as /etc/sysctl.d/{DROP_IN} in the image of this system",
            path.display()
        )
    }
}

impl std::error::Error for Failure {}

impl Plan {
    /// Writes `90-throng.conf` into `etc`, which is `/etc/sysctl.d` on a live box, and loads it.
    ///
    /// The drop-in has the keys that this plan changes and those of a drop-in that was there, as far
    /// as throng knows them: values that are only enough because that one was loaded. The file that
    /// undoes it keeps the values before the first of several plans.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written: then nothing is loaded. That the kernel refuses a key is no
    /// error but part of the [`Outcome`].
    pub fn carry_out(&self, etc: &Path, tree: &Tree) -> Result<Outcome, Failure> {
        let failure = |path: &Path| {
            let (path, target) = (path.to_owned(), self.facts.target);
            move |error| Failure { path, error, target }
        };
        let (path, before, undo) = (etc.join(DROP_IN), etc.join(BEFORE), etc.join(UNDO));
        if !etc.is_dir() {
            fs::create_dir(etc).map_err(failure(etc))?;
        }
        let former = files::read(&path).map_err(failure(&path))?;
        let undone = files::read(&undo).map_err(failure(&undo))?;
        files::replace(&undo, &self.undo_text(undone.as_deref(), etc)).map_err(failure(&undo))?;
        if let Some(former) = &former {
            files::replace(&before, former).map_err(failure(&before))?;
        }
        let mut kept: Vec<String> = files::assignments(former.as_deref().unwrap_or("")).into_keys().collect();
        kept.extend(self.changes.iter().map(|change| change.key.to_owned()));
        files::replace(&path, &self.drop_in_text(&kept)).map_err(failure(&path))?;

        let writer = Writer::of(tree);
        let (mut loaded, mut refused) = (Vec::new(), Vec::new());
        for change in &self.changes {
            match self.load(change, tree, &writer) {
                Ok(()) => loaded.push(change.clone()),
                Err(why) => refused.push((change.clone(), why)),
            }
        }
        if !refused.is_empty() {
            // What the kernel refuses now it would refuse at every boot.
            kept.retain(|key| !refused.iter().any(|(change, _)| change.key == key));
            if let Err(error) = files::replace(&path, &self.drop_in_text(&kept)) {
                let still =
                    format!("; it is still in {}, which cannot be written again: {error}", path.display());
                refused.iter_mut().for_each(|(_, why)| why.push_str(&still));
            }
        }
        Ok(Outcome { drop_in: path, before: former.map(|_| before), undo, loaded, refused })
    }

    /// The values before: those of an earlier plan, and for keys that it did not change the found ones.
    fn undo_text(&self, earlier: Option<&str>, etc: &Path) -> String {
        let found = self.changes.iter().map(|change| (change.key.to_owned(), change.found.clone()));
        let mut values: BTreeMap<String, String> = found.collect();
        values.extend(files::assignments(earlier.unwrap_or("")));
        let mut text = format!(
            "# What the kernel's settings were before `throng doctor --apply`. To go back:\n\
             #    sysctl -p {0}/{UNDO}\n#    rm {0}/{DROP_IN} {0}/{UNDO}\n",
            etc.display()
        );
        for (key, value) in values {
            text.push_str(&format!("{key} = {value}\n"));
        }
        text
    }

    fn drop_in_text(&self, keys: &[String]) -> String {
        let chosen =
            settings().iter().filter(|setting| setting.instead.is_none() && keys.contains(&setting.key));
        drop_in(&self.facts, chosen)
    }

    /// Writes one key, and looks whether the kernel holds it then.
    fn load(&self, change: &Change, tree: &Tree, writer: &Writer) -> Result<(), String> {
        let place = tree.place(&sysctl_path(change.key));
        // One write call: /proc/sys takes a value in one piece. Truncating is for recorded trees.
        let opened = OpenOptions::new().write(true).truncate(true).open(place);
        let written = opened.and_then(|mut file| file.write_all(format!("{}\n", change.wanted).as_bytes()));
        written.map_err(|error| writer.hindrance(&error))?;
        let held = tree.sysctl(change.key).map_err(|unreadable| unreadable.to_string())?;
        match named(change.key).map(|setting| setting.judge(&held, &self.facts)) {
            Some(Judgement::Met) => Ok(()),
            _ => Err(format!("the kernel holds `{held}` after it was written")),
        }
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { drop_in, before, undo, loaded, refused } = self;
        writeln!(
            f,
            "Written to {} and loaded: {} of {} keys.",
            drop_in.display(),
            loaded.len(),
            loaded.len() + refused.len()
        )?;
        for (Change { key, found, wanted, .. }, why) in refused {
            writeln!(f, "Not loaded: {key} stays at {found} (wanted {wanted}): {why}")?;
        }
        if let Some(before) = before {
            writeln!(f, "The {DROP_IN} that was there is kept as {}.", before.display())?;
        }
        writeln!(f, "To go back to the values before:")?;
        writeln!(f, "  sysctl -p {}", undo.display())?;
        writeln!(f, "  rm {} {}", drop_in.display(), undo.display())
    }
}
