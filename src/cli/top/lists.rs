//! The list below the figures: shards, rooms or walls.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::Span;
use ratatui::widgets::{Cell, Row, Table};

use super::draw::{bar, nearness};
use super::view::{List, View};
use super::words::{bytes, harmless, rate, share, short, used};
use crate::control::dashboard::Snapshot;

/// Narrowest terminal that has all columns.
const WIDE: u16 = 72;

/// Width of bars.
const BAR: u16 = 16;

/// Draws the list that is turned to.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &View, now: &Snapshot) {
    let is_wide = area.width >= WIDE;
    let (head, rows, widths) = match view.list {
        List::Shards => shards(now, is_wide),
        List::Rooms => rooms(now, is_wide),
        List::Limits => limits(now, is_wide),
    };
    let head = Row::new(head.into_iter().map(|word| Cell::from(word.dim())));
    let shown = rows.into_iter().skip(view.scrolled);
    frame.render_widget(Table::new(shown, widths).header(head).column_spacing(1), area);
}

type Columns = (Vec<&'static str>, Vec<Row<'static>>, Vec<Constraint>);

fn shards(now: &Snapshot, is_wide: bool) -> Columns {
    let most = now.shards.iter().map(|shard| shard.connections).max().unwrap_or(0).max(1);
    let rows = now.shards.iter().enumerate().map(|(index, shard)| {
        let part = shard.connections as f64 / most as f64;
        let cpu = shard.cpu.map_or("-".to_owned(), |cpu| format!("{:.0} %", cpu * 100.0));
        let busy = shard.cpu.map_or(Color::Reset, nearness);
        let state = if shard.is_listening { Span::raw("listens") } else { "shut".yellow() };
        let mut cells = vec![
            Cell::from(format!(" {index}")),
            Cell::from(short(shard.connections as f64)),
            Cell::from(rate(shard.deliveries)),
            Cell::from(Span::styled(cpu, Style::new().fg(busy))),
        ];
        if is_wide {
            cells.insert(1, Cell::from(bar(part, usize::from(BAR)).cyan()));
            cells.push(Cell::from(rate(shard.turns)));
            cells.push(Cell::from(bytes(shard.backlog_bytes as f64)));
        }
        cells.push(Cell::from(state));
        Row::new(cells)
    });
    let rows = rows.collect();
    if is_wide {
        let head = vec![" #", "", "conns", "deliv/s", "CPU", "turns/s", "backlog", ""];
        (head, rows, widths(&[4, BAR, 6, 11, 6, 8, 10], 7))
    } else {
        (vec![" #", "conns", "deliv/s", "CPU", ""], rows, widths(&[4, 6, 11, 6], 4))
    }
}

fn rooms(now: &Snapshot, is_wide: bool) -> Columns {
    let most = now.rooms.first().map_or(1.0, |room| room.deliveries.max(1.0));
    let rows = now.rooms.iter().map(|room| {
        let error = if room.error > 0.0 { format!(" -{}", rate(room.error)) } else { String::new() };
        let mut cells = vec![
            Cell::from(format!(" {}{error}", rate(room.deliveries))),
            Cell::from(short(room.members as f64)),
            Cell::from(harmless(&room.name)),
        ];
        if is_wide {
            cells.insert(0, Cell::from(format!(" {}", bar(room.deliveries / most, usize::from(BAR))).cyan()));
        }
        Row::new(cells)
    });
    let rows = rows.collect();
    if is_wide {
        (vec!["", " deliv/s", "members", "room"], rows, widths(&[BAR + 1, 16, 8], 20))
    } else {
        (vec![" deliv/s", "members", "room"], rows, widths(&[12, 8], 10))
    }
}

fn limits(now: &Snapshot, is_wide: bool) -> Columns {
    let rows = now.limits.iter().map(|limit| {
        let share = share(limit);
        let style = Style::new().fg(nearness(share));
        let mut cells = vec![
            Cell::from(Span::styled(format!("{:>4.0} %", share * 100.0), style)),
            Cell::from(limit.name.clone()),
            Cell::from(used(limit)),
        ];
        if is_wide {
            cells.push(Cell::from(limit.remedy.clone().dim()));
        }
        Row::new(cells)
    });
    let rows = rows.collect();
    if is_wide {
        (vec!["", "wall", "used", "moved by"], rows, widths(&[6, 24, 22], 10))
    } else {
        (vec!["", "wall", "used"], rows, widths(&[6, 16], 10))
    }
}

/// Columns of these widths, and a last one that has at least `last`.
fn widths(columns: &[u16], last: u16) -> Vec<Constraint> {
    let fixed = columns.iter().map(|width| Constraint::Length(*width));
    fixed.chain([Constraint::Min(last)]).collect()
}
