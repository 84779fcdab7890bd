//! Nodes over room sizes: a line for each resource, and where this plan stands among them.

use std::fs;
use std::path::{Path, PathBuf};

use super::table;
use crate::load::report::{Content, Page, Plot, Scale, Series, Table, figure};
use crate::plan::Plan;
use crate::plan::text::{counted, grouped};

/// Room sizes to compute in each decade: close enough that the steps of whole nodes look like steps.
const SIZES_PER_DECADE: u32 = 40;
/// The largest room size of the plot is at least this.
const LARGEST_MIN: u64 = 10_000;
/// And so many times the largest that is planned.
const BEYOND: u64 = 10;

/// Why there is no plot.
#[derive(Debug)]
pub(super) enum NotDrawn {
    /// The plan does not say enough.
    Lacks(String),
    /// The file cannot be written.
    Unwritable(String),
}

/// The file of `--plot`, whose name says what it is to be.
pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let extension = path.extension().unwrap_or_default();
    if ["html", "svg"].iter().any(|known| extension == *known) {
        Ok(path)
    } else {
        Err("accepted: a file whose name ends in .html or .svg".to_owned())
    }
}

/// Writes the plot of `plan` to `path`.
pub(super) fn write(plan: &Plan, path: &Path) -> Result<(), NotDrawn> {
    let plot = draw(plan)?;
    let is_page = path.extension().is_some_and(|extension| extension == "html");
    let text = if is_page {
        page(plan, plot).render() + "\n"
    } else {
        figure::svg("Nodes over room sizes", &reading(plan), &plot)
    };
    fs::write(path, text)
        .map_err(|error| NotDrawn::Unwritable(format!("{} cannot be written: {error}", path.display())))
}

fn draw(plan: &Plan) -> Result<Plot, NotDrawn> {
    let load = &plan.inputs.load;
    let lacks = |what: &str| NotDrawn::Lacks(format!("--plot shows nodes over room sizes: it needs {what}"));
    if load.publishes_per_second.is_none() {
        return Err(lacks("--publishes-per-second and --room-sizes"));
    }
    if plan.limits.iter().all(|limit| limit.demand.is_none()) {
        return Err(lacks("a limit of a node, such as --deliveries-per-second"));
    }
    let sizes = sizes(plan);
    let limits: Vec<_> = sizes.iter().map(|size| plan.limits_at(*size)).collect();
    let mut series = Vec::new();
    for (at, limit) in plan.limits.iter().enumerate().filter(|(_, limit)| limit.demand.is_some()) {
        let binds = if plan.binding == Some(limit.resource) { " (binds this plan)" } else { "" };
        let nodes = limits.iter().map(|limits| limits[at].nodes);
        series.push(Series::new(format!("by {}{binds}", limit.resource), steps(&sizes, nodes)));
    }
    if let Some((needed, mean)) = here(plan) {
        let name = format!("this plan: {} for rooms of {mean}", counted(needed, "node"));
        series.push(Series::new(name, vec![(mean.rounded() as f64, needed as f64)]));
    }
    let most = limits.iter().map(|limits| limits.iter().filter_map(|limit| limit.nodes).max());
    series.push(Series::band("needed: the highest line", steps(&sizes, most)));
    Ok(Plot::Lines {
        x: "members of a room".to_owned(),
        x_scale: Scale::Log,
        y: "nodes needed".to_owned(),
        y_scale: Scale::Log,
        series,
    })
}

/// `nodes` over `sizes` with upright steps. What needs no node needs one that is there.
fn steps(sizes: &[u64], nodes: impl Iterator<Item = Option<u128>>) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (size, nodes) in sizes.iter().zip(nodes) {
        let point = (*size as f64, nodes.unwrap_or(0).max(1) as f64);
        if let Some(last) = points.last().filter(|last| last.1 != point.1) {
            points.push((point.0, last.1));
        }
        points.push(point);
    }
    points
}

/// Where the plan stands: its nodes and its mean room size.
fn here(plan: &Plan) -> Option<(u128, crate::plan::Decimal)> {
    Some((plan.nodes.as_ref()?.needed?, plan.demand.mean_room_size?))
}

/// Room sizes, each once and in order, evenly spread on a log axis.
fn sizes(plan: &Plan) -> Vec<u64> {
    let largest = plan.inputs.load.rooms.iter().map(|room| room.members).max().unwrap_or(1);
    let largest = (largest * BEYOND).max(LARGEST_MIN);
    let steps = (largest as f64).log10() * f64::from(SIZES_PER_DECADE);
    let size = |step: u32| 10_f64.powf(f64::from(step) / f64::from(SIZES_PER_DECADE)).round() as u64;
    let mut sizes: Vec<_> = (0..=steps.ceil() as u32).map(size).collect();
    sizes.dedup();
    sizes
}

/// How to read the plot.
fn reading(plan: &Plan) -> String {
    let rate = plan.inputs.load.publishes_per_second.map_or_else(String::new, |rate| rate.to_string());
    let connections = plan.demand.connections;
    let connections =
        connections.map_or_else(String::new, |count| format!(", {} connections", grouped(count)));
    let turn = match plan.turn() {
        (Some((size, first)), Some(then)) => {
            format!("Up to rooms of {} {}, from there {}.", grouped(size.into()), first.binds(), then.binds())
        }
        (Some((_, only)), None) | (None, Some(only)) => format!("For rooms of any size {}.", only.binds()),
        (None, None) => String::new(),
    };
    format!("{rate} publishes per second{connections}, without redundancy. {turn}")
}

fn page(plan: &Plan, plot: Plot) -> Page {
    let command: Vec<_> = std::env::args().skip(1).collect();
    let mut page = Page::new("throng plan", format!("throng {}", command.join(" ")), None);
    if let Some(nodes) = &plan.nodes {
        let figures = [(nodes.needed, "nodes needed"), (nodes.with_redundancy, "with redundancy")];
        for (amount, what) in figures.into_iter().filter(|(amount, _)| amount.is_some()) {
            page.figure(grouped(amount.unwrap_or(0)), what);
        }
    }
    for (amount, what) in
        [(plan.demand.connections, "connections"), (plan.demand.writes_per_second, "writes per second")]
    {
        if let Some(amount) = amount {
            page.figure(grouped(amount), what);
        }
    }
    if let Some(binding) = plan.binding {
        page.verdict(format!("What a node runs out of first: {binding}."));
    }
    plan.notes.iter().for_each(|note| page.verdict(format!("Note: {note}.")));
    page.section("Nodes over room sizes", reading(plan), Content::Plot(plot));
    if let Some(heading) = table::changes_heading(plan) {
        let mut changes = Table::default();
        plan.changes.iter().for_each(|change| changes.row(&change.how, grouped(change.nodes)));
        page.section(
            heading,
            "The same plan with one thing changed: nodes, redundancy included.",
            Content::Table(changes),
        );
    }
    for (heading, rows) in table::tables(plan) {
        page.section(capitalised(heading), "", Content::Table(rows));
    }
    page
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
