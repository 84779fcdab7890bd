//! Carries a plan out: the file that undoes it first, then the drop-in, then the kernel, key by key.
//!
//! In this order, so that there is no moment at which a value is lost: whatever fails, the file that
//! undoes it is there before anything changes. What undoes several plans goes back to before the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::hindrance::Writer;
use super::{Change, Plan, files, spaced};
use crate::doctor::sysctl::{Judgement, drop_in, named, settings};
use crate::host::tree::{Tree, sysctl_path};

/// The drop-in's name.
pub const DROP_IN: &str = "90-throng.conf";

/// Where it is put, of the directories in which systemd and procps look. Source: sysctl.d(5).
const DIRECTORY: &str = "/etc/sysctl.d";

/// What a drop-in is kept as that was there before the first `--apply`, and that undoing puts back; not
/// `*.conf`, so that nobody loads it.
const BEFORE: &str = "90-throng.conf.before";

/// What the drop-in of an earlier `--apply` is kept as, in case that somebody edited it.
const REPLACED: &str = "90-throng.conf.replaced";

/// How many connections are tracked, where the module for that is loaded.
const TRACKED: &str = "net.netfilter.nf_conntrack_count";

/// The file with the values before the first `--apply`; not `*.conf` for the same reason.
const UNDO: &str = "90-throng.undo";

/// What was done, and what was not. Its `Display` says both, and how to undo it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The drop-in that was written.
    pub drop_in: PathBuf,
    /// Where the drop-in that was there before the first `--apply` is kept.
    pub before: Option<PathBuf>,
    /// Where the drop-in of an earlier `--apply` is kept.
    pub replaced: Option<PathBuf>,
    /// The file that restores the values before the first `--apply`.
    pub undo: PathBuf,
    /// Keys that the kernel has taken.
    pub loaded: Vec<Change>,
    /// Keys that it has not, and why. They are not in the drop-in.
    pub refused: Vec<(Change, String)>,
    /// Keys of connection tracking were set, and connections are tracked.
    pub is_tracking: bool,
}

/// A file could not be written; nothing was loaded.
#[derive(Debug)]
pub struct Failure {
    /// The file.
    pub path: PathBuf,
    /// What the kernel said.
    pub error: io::Error,
    options: String,
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { path, error, options } = self;
        write!(
            f,
            "{} cannot be written: {error}. No setting was changed. To install them otherwise: \
             `throng doctor {options} --print-sysctl > FILE`, then `sysctl -p FILE` until the next boot, \
             or FILE as /etc/sysctl.d/{DROP_IN} in the image of this system",
            path.display()
        )
    }
}

impl std::error::Error for Failure {}

impl Plan {
    /// Writes `90-throng.conf` into `/etc/sysctl.d` of the box that `tree` shows, and loads it.
    ///
    /// The drop-in has the keys that this plan changes and those of a drop-in that was there, as far
    /// as throng knows them: values that are only enough because that one was loaded. The file that
    /// undoes it keeps the values before the first of several plans, and so does the copy of a drop-in
    /// that was there.
    ///
    /// Two that carry out at once do it after each other. What the first has made enough in between
    /// the second leaves alone, as if it had been planned after that.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written: then nothing is loaded. That the kernel refuses a key is no
    /// error but part of the [`Outcome`].
    pub fn carry_out(&self, tree: &Tree) -> Result<Outcome, Failure> {
        let failure = |path: &Path| {
            let (path, options) = (path.to_owned(), self.facts.options());
            move |error| Failure { path, error, options }
        };
        let etc = tree.place(DIRECTORY);
        let (path, undo) = (etc.join(DROP_IN), etc.join(UNDO));
        if !etc.is_dir() {
            fs::create_dir_all(&etc).map_err(failure(&etc))?;
        }
        let _lock = files::lock(&etc).map_err(failure(&etc))?;
        self.renewed(tree).write(tree, path, undo)
    }

    /// The plan with what its keys hold now; one that is enough by now is left out.
    fn renewed(&self, tree: &Tree) -> Plan {
        let facts = self.facts.clone().with_found(tree);
        let changes = self.changes.iter().filter_map(|change| {
            let judged = named(change.key).zip(facts.found.get(change.key));
            match judged.map(|(setting, found)| (setting.judge(found, &facts), found)) {
                Some((Judgement::Met, _)) => None,
                Some((Judgement::Short { wanted }, found)) => {
                    Some(Change { found: spaced(found), wanted, ..change.clone() })
                }
                // It is gone, or holds something else: the kernel will say.
                Some((Judgement::Unparsable, _)) | None => Some(change.clone()),
            }
        });
        let changes = changes.collect();
        Plan { facts, changes, ..self.clone() }
    }

    /// As [`Plan::carry_out`], for whoever has the lock.
    fn write(&self, tree: &Tree, path: PathBuf, undo: PathBuf) -> Result<Outcome, Failure> {
        let failure = |path: &Path| {
            let (path, options) = (path.to_owned(), self.facts.options());
            move |error| Failure { path, error, options }
        };
        let etc = tree.place(DIRECTORY);
        let former = files::read(&path).map_err(failure(&path))?;
        let undone = files::read(&undo).map_err(failure(&undo))?;
        let is_first = undone.is_none();
        if let Some(former) = &former {
            let copy = etc.join(if is_first { BEFORE } else { REPLACED });
            files::replace(&copy, former).map_err(failure(&copy))?;
        }
        // One that an undone plan left is of no use to the first plan after it.
        let has_before = if is_first { former.is_some() } else { etc.join(BEFORE).is_file() };
        let mut outcome = Outcome {
            before: has_before.then(|| etc.join(BEFORE)),
            replaced: former.as_ref().filter(|_| !is_first).map(|_| etc.join(REPLACED)),
            drop_in: path.clone(),
            undo: undo.clone(),
            loaded: Vec::new(),
            refused: Vec::new(),
            is_tracking: false,
        };
        files::replace(&undo, &self.undo_text(undone.as_deref(), &outcome)).map_err(failure(&undo))?;
        let mut kept: Vec<String> = files::assignments(former.as_deref().unwrap_or("")).into_keys().collect();
        kept.extend(self.changes.iter().map(|change| change.key.to_owned()));
        files::replace(&path, &self.drop_in_text(&kept)).map_err(failure(&path))?;

        let writer = Writer::of(tree);
        let (mut loaded, mut refused) = (Vec::new(), Vec::new());
        for change in &self.changes {
            match self.load(change, tree, writer) {
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
        let sets_tracking = loaded.iter().any(|change| change.key.starts_with("net.netfilter."));
        outcome.is_tracking = sets_tracking && tree.sysctl(TRACKED).is_ok_and(|count| count != "0");
        Ok(Outcome { loaded, refused, ..outcome })
    }

    /// The values before: those of an earlier plan, and for keys that it did not change the found ones.
    fn undo_text(&self, earlier: Option<&str>, outcome: &Outcome) -> String {
        let found = self.changes.iter().map(|change| (change.key.to_owned(), change.found.clone()));
        let mut values: BTreeMap<String, String> = found.collect();
        values.extend(files::assignments(earlier.unwrap_or("")));
        let mut text =
            "# What the kernel's settings were before `throng doctor --apply`. To go back:\n".to_owned();
        for command in outcome.undoing() {
            text.push_str(&format!("#    {command}\n"));
        }
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
    fn load(&self, change: &Change, tree: &Tree, writer: Writer) -> Result<(), String> {
        let setting = named(change.key).ok_or("no shipped file has it")?;
        let place = tree.place(&sysctl_path(change.key));
        // One write call: /proc/sys takes a value in one piece. Truncating is for recorded trees.
        let opened = OpenOptions::new().write(true).truncate(true).open(place);
        let written = opened.and_then(|mut file| file.write_all(format!("{}\n", change.wanted).as_bytes()));
        written.map_err(|error| writer.hindrance(setting, &error))?;
        let held = tree.sysctl(change.key).map_err(|unreadable| unreadable.to_string())?;
        match setting.judge(&held, &self.facts) {
            Judgement::Met => Ok(()),
            _ => Err(format!("the kernel holds `{held}` after it was written")),
        }
    }
}

/// The keys of the drop-in that an earlier plan, or somebody, has left; none if there is none.
pub fn keys_of_drop_in(tree: &Tree) -> BTreeSet<String> {
    let text = tree.text(&format!("{DIRECTORY}/{DROP_IN}")).unwrap_or_default();
    files::assignments(&text).into_keys().collect()
}

impl Outcome {
    /// The commands that go back to what was there before the first plan.
    fn undoing(&self) -> Vec<String> {
        let (drop_in, undo) = (self.drop_in.display(), self.undo.display());
        let mut commands = vec![format!("sysctl -p {undo}")];
        match &self.before {
            Some(before) => {
                commands.extend([format!("mv {} {drop_in}", before.display()), format!("rm {undo}")])
            }
            None => commands.push(format!("rm {drop_in} {undo}")),
        }
        commands
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { drop_in, before, replaced, loaded, refused, is_tracking, .. } = self;
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
        // What was there now: that of an earlier plan, or else what was there before any.
        if let Some(kept) = replaced.as_ref().or(before.as_ref()) {
            writeln!(f, "The {DROP_IN} that was there is kept as {}.", kept.display())?;
        }
        if *is_tracking {
            writeln!(
                f,
                "At boot the keys of net.netfilter are there only if their module is loaded before them:\n  \
                 echo nf_conntrack > /etc/modules-load.d/throng.conf"
            )?;
        }
        writeln!(f, "To go back to the values before:")?;
        self.undoing().iter().try_for_each(|command| writeln!(f, "  {command}"))
    }
}
