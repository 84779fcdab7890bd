//! Figures out of kept reports: `throng bench ceiling` and `throng bench idle`, as JSON.
//!
//! A report is known by its members, not by its file's name. Nothing of it is believed that says
//! itself that it is no answer: a run that was interrupted, a ceiling of 0.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::plan::text::grouped;
use crate::plan::{Decimal, Inputs, quantity};

/// Largest file that is read. The reports of this repository have up to 300 kB.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Figures measured with rooms or messages of another size by this factor are told to be so.
const FAR: u128 = 2;

/// What a plan takes of a report.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Report {
    Ceiling(Box<Ceiling>),
    Idle(Box<Idle>),
}

/// `throng bench ceiling`, as far as a plan reads it.
#[derive(Debug, Deserialize)]
struct Ceiling {
    origin: Origin,
    interrupted: bool,
    rooms: u64,
    members_per_room: u64,
    payload_bytes: u64,
    p99_ms_max: f64,
    deliveries_per_second: f64,
    bottleneck: String,
}

/// `throng bench idle`, as far as a plan reads it.
#[derive(Debug, Deserialize)]
struct Idle {
    origin: Option<Origin>,
    interrupted: bool,
    whole: u64,
    account: Account,
    /// Not read: `bench floor` has an account too, and this only an idle server's.
    #[serde(rename = "hold_pings")]
    _hold_pings: u64,
}

#[derive(Debug, Deserialize)]
struct Account {
    #[serde(default)]
    server: Side,
}

#[derive(Debug, Default, Deserialize)]
struct Side {
    kernel_and_user_bytes_per_connection: Option<f64>,
}

/// Where a report was made.
#[derive(Debug, Deserialize)]
struct Origin {
    started_at: String,
    cpu: String,
    cores: u64,
}

impl Origin {
    fn text(&self) -> String {
        let day = self.started_at.split('T').next().unwrap_or_default();
        format!("{day} on {} cores of {}", self.cores, self.cpu)
    }
}

/// Puts the figures of `files` into `inputs` where the command line has not given any, and says for each
/// what came of it. `is_given` are the options that the command line gave.
///
/// # Errors
///
/// A file cannot be read, is no such report, has no figure, or is the second of its kind.
pub(super) fn take(
    files: &[PathBuf],
    inputs: &mut Inputs,
    is_given: &dyn Fn(&str) -> bool,
) -> Result<Vec<String>, String> {
    let (mut notes, mut seen) = (Vec::new(), HashMap::new());
    for path in files {
        let report = read(path)?;
        let (option, value, told) = match &report {
            Report::Ceiling(ceiling) => {
                (quantity::DELIVERIES_PER_SECOND, ceiling.figure(), ceiling.told(inputs))
            }
            Report::Idle(idle) => (quantity::BYTES_PER_CONNECTION, idle.figure(), idle.told()),
        };
        let is_in_range = |value| {
            option.check(Decimal::whole(value)).map(|()| value).map_err(|accepted| {
                format!("it measured {}; accepted: {accepted}", grouped(u128::from(value)))
            })
        };
        let value = value.and_then(is_in_range).map_err(|why| format!("{}: {why}", path.display()))?;
        if let Some(other) = seen.insert(option.option, path) {
            let (other, path) = (other.display(), path.display());
            return Err(format!("{other} and {path} both measured {}: give one of them", option.option));
        }
        let (name, figure) = (path.display(), grouped(u128::from(value)));
        if is_given(option.option) {
            notes.push(format!("{} counts as given, not the {figure} of {name}", option.option));
            continue;
        }
        let mut told = told.into_iter();
        let origin = told.next().unwrap_or_default();
        notes.push(format!("{} {figure} is from {name}: {origin}", option.option));
        notes.extend(told);
        match report {
            Report::Ceiling(_) => inputs.node.deliveries_per_second = Some(value),
            Report::Idle(_) => inputs.node.bytes_per_connection = value,
        }
    }
    Ok(notes)
}

fn read(path: &Path) -> Result<Report, String> {
    let name = path.display();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{name} is too large for a report: more than {FILE_BYTES_MAX} bytes"));
    }
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
        return Err(format!("{name} is no JSON: {error}"));
    }
    serde_json::from_slice(&bytes).map_err(|_| {
        format!("{name} is neither a report of `throng bench ceiling` nor one of `throng bench idle` (--json FILE)")
    })
}

/// A figure as a whole number, if it is one to plan with.
fn whole(figure: f64) -> Option<u64> {
    // Beyond 2^53 a double is no whole number any more, and nothing was measured that is.
    (figure >= 1.0 && figure <= (1_u64 << 53) as f64).then_some(figure as u64)
}

impl Ceiling {
    /// Deliveries per second, rounded down.
    fn figure(&self) -> Result<u64, String> {
        if self.interrupted {
            return Err("the run was interrupted, so its ceiling is not known".to_owned());
        }
        whole(self.deliveries_per_second).ok_or_else(|| {
            format!(
                "its ceiling is {} deliveries per second: no rate was good, and nothing can be planned with it",
                self.deliveries_per_second
            )
        })
    }

    /// What it was measured with, first, and how that is not what is planned.
    fn told(&self, inputs: &Inputs) -> Vec<String> {
        let (rooms, members) = (grouped(self.rooms.into()), grouped(self.members_per_room.into()));
        let mut told = vec![format!(
            "{}, {rooms} rooms of {members}, payloads of {} bytes, p99 up to {} ms",
            self.origin.text(),
            grouped(self.payload_bytes.into()),
            self.p99_ms_max,
        )];
        if ["generator", "machine", "others"].contains(&self.bottleneck.as_str()) {
            told.push(
                "the load generator or something else took its share of the machine of that ceiling: a node may do more".to_owned(),
            );
        }
        if let Some(mean) = inputs.load.mean_room_size()
            && are_far(mean.rounded(), self.members_per_room.into())
        {
            told.push(format!(
                "that ceiling is of rooms of {members}, and a delivery costs more in smaller ones, less in larger: \
                 measure with --members {}, as planned",
                mean.rounded()
            ));
        }
        if let Some(message_bytes) = inputs.load.message_bytes
            && u128::from(message_bytes) > FAR * u128::from(self.payload_bytes) + 64
        {
            told.push(format!(
                "that ceiling is of smaller messages, and larger ones cost more: measure with --payload-bytes \
                 {message_bytes}, as planned"
            ));
        }
        told
    }
}

impl Idle {
    /// Bytes per connection, rounded up.
    fn figure(&self) -> Result<u64, String> {
        if self.interrupted {
            return Err("the run was interrupted, so its figures are not final".to_owned());
        }
        let bytes = self.account.server.kernel_and_user_bytes_per_connection.ok_or(
            "it has no memory of the server's side: run `throng bench idle` as root, without --target or with --pid \
             and --stop-server",
        )?;
        whole(bytes.ceil()).ok_or_else(|| format!("its connections take {bytes} bytes each, which cannot be"))
    }

    fn told(&self) -> Vec<String> {
        let origin = self.origin.as_ref().map_or_else(|| "unknown machine".to_owned(), Origin::text);
        vec![format!("{origin}, {} idle connections, the server's side", grouped(self.whole.into()))]
    }
}

/// Whether one is more than [`FAR`] times the other.
fn are_far(one: u128, other: u128) -> bool {
    one > FAR * other || other > FAR * one
}
