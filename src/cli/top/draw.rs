//! How `throng top` looks: title, figures with lines over time, the nearest walls, one list, keys.
//!
//! It draws into whatever space there is: 80 by 24 shows everything, less leaves out the lines over time first.
//! Names that others chose are made harmless before they come here or by the terminal's buffer, which has no
//! place for control characters.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline};

use super::dialog;
use super::lists;
use super::plain::{drain, figures, time};
use super::view::{List, View};
use super::words::{seconds, share, used};
use crate::control::dashboard::Snapshot;
use crate::control::dashboard::snapshot::Limit;

/// Width of the words before the figures.
const LABEL: usize = 14;

/// Narrowest terminal that has lines over time beside the figures.
const WIDE: u16 = 76;

/// Width of the lines over time.
const SPARKS: u16 = 24;

/// Walls above the list, where it is high enough for them.
const WALLS: usize = 3;

/// Height below which the walls are only in their list.
const HIGH: u16 = 20;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    match &view.now {
        Some(now) => {
            let walls = if area.height >= HIGH { now.limits.len().min(WALLS) } else { 0 };
            let figures = figures(now).len() + usize::from(drain(&now.drain).is_some());
            let [title, above, middle, tabs, list, keys] = Layout::vertical([
                Constraint::Length(1),
                Constraint::Length(figures as u16),
                Constraint::Length(walls as u16),
                Constraint::Length(1),
                Constraint::Min(2),
                Constraint::Length(1),
            ])
            .areas(area);
            draw_title(frame, title, view, now);
            draw_figures(frame, above, view, now);
            for (row, limit) in middle.rows().zip(&now.limits) {
                frame.render_widget(wall(limit, row.width), row);
            }
            frame.render_widget(tabs_line(view, now), tabs);
            lists::draw(frame, list, view, now);
            frame.render_widget(keys_line(view), keys);
        }
        None => {
            let why = view.lost.as_deref().unwrap_or("waiting for the first beat …");
            let text = format!("throng top {}\n\n{why}\n\nq quits; it goes on trying.", view.place);
            frame.render_widget(Paragraph::new(text).wrap(ratatui::widgets::Wrap { trim: true }), area);
        }
    }
    if let Some(dialog) = &view.dialog {
        dialog::draw(frame, area, dialog, view);
    }
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, view: &View, now: &Snapshot) {
    if let Some(why) = &view.lost {
        let text = format!(" no beats since {} UTC, trying again: {why}", time(now.at_ms));
        frame.render_widget(Paragraph::new(text).style(Style::new().red().reversed()), area);
        return;
    }
    let phase = Style::new().fg(if now.phase == "ready" { Color::Green } else { Color::Yellow });
    let mut words = vec![
        " throng ".bold(),
        Span::raw(now.version.clone()),
        Span::raw("  "),
        Span::styled(now.phase.clone(), phase),
        Span::raw(format!("  up {}", seconds(now.uptime_s))),
        format!("  {} UTC", time(now.at_ms)).dim(),
        format!("  {}", view.place).dim(),
    ];
    if view.is_paused {
        words.insert(4, " paused ".reversed());
    }
    frame.render_widget(Paragraph::new(Line::from(words)), area);
}

fn draw_figures(frame: &mut Frame<'_>, area: Rect, view: &View, now: &Snapshot) {
    let is_wide = area.width >= WIDE;
    let rows = figures(now).into_iter().chain(drain(&now.drain).map(|drain| ("drain", drain)));
    for (row, (label, value)) in area.rows().zip(rows) {
        let past = match label {
            "connections" => Some(&view.past.connections),
            "deliveries" => Some(&view.past.deliveries),
            "to last write" => Some(&view.past.p99_us),
            "backlog" => Some(&view.past.backlog_bytes),
            _ => None,
        };
        let sparks = if is_wide && past.is_some() { SPARKS } else { 0 };
        let [words, line] = Layout::horizontal([Constraint::Min(0), Constraint::Length(sparks)]).areas(row);
        let label = Span::styled(format!(" {label:<width$}", width = LABEL), Style::new().dim());
        let style = if label.content.trim() == "drain" { Style::new().yellow() } else { Style::new() };
        frame.render_widget(Paragraph::new(Line::from(vec![label, Span::styled(value, style)])), words);
        if let Some(past) = past.filter(|_| sparks > 0) {
            let shown: Vec<u64> = past.iter().rev().take(usize::from(sparks)).rev().copied().collect();
            // The latest at the right edge.
            let missing = sparks.saturating_sub(shown.len() as u16);
            let line = Rect { x: line.x + missing, width: line.width - missing, ..line };
            frame.render_widget(Sparkline::default().data(shown).style(Style::new().cyan()), line);
        }
    }
}

/// Green, yellow or red, by how near a wall is.
pub(super) fn nearness(share: f64) -> Color {
    match share {
        0.9.. => Color::Red,
        0.7.. => Color::Yellow,
        _ => Color::Green,
    }
}

/// A bar of `width` characters that is full by `share`.
pub(super) fn bar(share: f64, width: usize) -> String {
    let full = (share * width as f64).round() as usize;
    // What is not nothing is seen.
    let full = if share > 0.0 { full.max(1).min(width) } else { 0 };
    format!("{}{}", "█".repeat(full), "░".repeat(width - full))
}

fn wall(limit: &Limit, width: u16) -> Paragraph<'static> {
    let share = share(limit);
    let bar = bar(share, usize::from(width / 4));
    let words = vec![
        Span::styled(format!(" {bar} "), Style::new().fg(nearness(share))),
        Span::raw(format!("{:>3.0} % ", share * 100.0)),
        Span::raw(limit.name.clone()),
        format!("  {}", used(limit)).dim(),
    ];
    Paragraph::new(Line::from(words))
}

fn tabs_line(view: &View, now: &Snapshot) -> Paragraph<'static> {
    let mut words = Vec::new();
    for list in List::ALL {
        let name = match list {
            List::Shards => "Shards",
            List::Rooms => "Rooms",
            List::Limits => "Walls",
        };
        let style = if list == view.list { Modifier::BOLD | Modifier::REVERSED } else { Modifier::DIM };
        words.push(Span::styled(format!(" {name} {} ", list.rows(now)), Style::new().add_modifier(style)));
        words.push(Span::raw(" "));
    }
    Paragraph::new(Line::from(words))
}

fn keys_line(view: &View) -> Paragraph<'static> {
    let [pause, drain] = [
        if view.is_paused { "go on" } else { "pause" },
        if view.is_draining() { "cancel drain" } else { "drain" },
    ];
    let keys =
        [("q", "quit"), ("p", pause), ("tab", "next list"), ("↑↓", "scroll"), ("d", drain), ("?", "help")];
    let words = keys.iter().flat_map(|(key, what)| [format!(" {key} ").bold(), format!("{what} ").dim()]);
    Paragraph::new(Line::from(words.collect::<Vec<_>>()))
}
