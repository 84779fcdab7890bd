//! What stands over everything until a key is pressed: help, a question, what came of it.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::widgets::{Block, Clear, Padding, Paragraph, Wrap};

use super::view::{Dialog, View};
use super::words::{count, harmless};

/// Widest box.
const WIDTH_MAX: u16 = 64;

const HELP: &str = "\
q, esc      quit
p, space    hold what is shown; go on
tab, ← →    shards, rooms, walls
↑ ↓, pages  scroll the list
d           close all connections over time; or stop that
?           this

to last write: from a publish to the last write of it
a write: deliveries that share one system call
walls: what the server or the box ends at, the nearest first
-n beside a room: the number may be too high by n";

/// Draws `dialog` in the middle of `area`.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, dialog: &Dialog, view: &View) {
    let connections = view.now.as_ref().map_or(0, |now| now.connections.now);
    let (title, text, style) = match dialog {
        Dialog::Help => ("Help", HELP.to_owned(), Style::new()),
        Dialog::Drain => (
            "Drain?",
            format!(
                "All {} connections of {} will be closed with 3001, and no new ones are taken. Their clients go \
                 elsewhere or come back.\n\ny drains; any other key does not.",
                count(connections),
                view.place
            ),
            Style::new().red(),
        ),
        Dialog::CancelDrain => (
            "Cancel the drain?",
            "Nobody more is closed, and new connections are taken again.\n\ny cancels; any other key does not."
                .to_owned(),
            Style::new().yellow(),
        ),
        Dialog::Told(what) => ("Done", harmless(what), Style::new()),
    };
    let width = area.width.min(WIDTH_MAX);
    // Borders and padding are left out.
    let lines: usize = text.lines().map(|line| lines_of(line, usize::from(width.saturating_sub(4)))).sum();
    let text = Paragraph::new(text).wrap(Wrap { trim: false });
    let block =
        Block::bordered().title(format!(" {title} ")).border_style(style).padding(Padding::horizontal(1));
    let height = (lines as u16 + 2).min(area.height);
    let place = area.centered(Constraint::Length(width), Constraint::Length(height));
    frame.render_widget(Clear, place);
    frame.render_widget(text.block(block), place);
}

/// Lines that `line` takes when its words are put into lines of `width`.
fn lines_of(line: &str, width: usize) -> usize {
    let (mut lines, mut used) = (1, 0);
    for word in line.split(' ').map(|word| word.chars().count()) {
        if used > 0 && used + word > width {
            lines += 1;
            used = 0;
        }
        used += word + 1;
    }
    lines
}
