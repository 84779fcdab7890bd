//! What `throng top` shows and what keys do to it; no terminal.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::Notice;
use crate::control::dashboard::Snapshot;

/// Beats that are remembered for the lines over time: five minutes.
const BEATS_MAX: usize = 300;

/// Rows that a page is.
const PAGE: usize = 10;

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// Every shard.
    Shards,
    /// The hottest rooms.
    Rooms,
    /// The walls.
    Limits,
}

impl List {
    /// All of them, in the order of their tabs.
    pub(super) const ALL: [List; 3] = [List::Shards, List::Rooms, List::Limits];

    fn beside(self, step: usize) -> List {
        let at = List::ALL.iter().position(|list| *list == self).unwrap_or(0);
        List::ALL[(at + step) % List::ALL.len()]
    }

    /// How many rows it has.
    pub(super) fn rows(self, now: &Snapshot) -> usize {
        match self {
            List::Shards => now.shards.len(),
            List::Rooms => now.rooms.len(),
            List::Limits => now.limits.len(),
        }
    }
}

/// What stands over the rest until a key is pressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dialog {
    /// What the keys do.
    Help,
    /// Whether to close all connections.
    Drain,
    /// Whether to stop doing that.
    CancelDrain,
    /// What came of it.
    Told(String),
}

/// What is to be done after a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Draw.
    Stay,
    /// End.
    Quit,
    /// `POST` this path.
    Post(&'static str),
}

/// Figures of the last beats, the latest last.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Connections.
    pub connections: VecDeque<u64>,
    /// Deliveries per second.
    pub deliveries: VecDeque<u64>,
    /// 99th percentile of the time to the last write, in microseconds.
    pub p99_us: VecDeque<u64>,
    /// Bytes that wait.
    pub backlog_bytes: VecDeque<u64>,
}

impl Past {
    fn add(&mut self, now: &Snapshot) {
        let beat = [
            (&mut self.connections, now.connections.now),
            (&mut self.deliveries, now.rates.deliveries.round() as u64),
            (&mut self.p99_us, now.latency.p99_us),
            (&mut self.backlog_bytes, now.backlog.bytes),
        ];
        for (values, value) in beat {
            if values.len() == BEATS_MAX {
                values.pop_front();
            }
            values.push_back(value);
        }
    }
}

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct View {
    /// Where the server is.
    pub place: String,
    /// The beat that is shown; none came yet.
    pub now: Option<Snapshot>,
    /// The figures over time.
    pub past: Past,
    /// Why no beats come.
    pub lost: Option<String>,
    /// The beat that is shown stays.
    pub is_paused: bool,
    /// What is listed.
    pub list: List,
    /// Rows of the list that are above what is shown of it.
    pub scrolled: usize,
    /// What stands over all.
    pub dialog: Option<Dialog>,
}

impl View {
    /// Of the server at `place`, before anything came from it.
    pub(super) fn new(place: &str) -> Self {
        View {
            place: place.to_owned(),
            now: None,
            past: Past::default(),
            lost: None,
            is_paused: false,
            list: List::Shards,
            scrolled: 0,
            dialog: None,
        }
    }

    /// Takes in what came; whether to end.
    pub(super) fn take(&mut self, notice: Notice) -> Step {
        match notice {
            Notice::Event(text) => match serde_json::from_str(&text) {
                Ok(now) => self.beat(now),
                Err(error) => self.lost = Some(format!("not understood, is it another version? {error}")),
            },
            Notice::Lost(why) => self.lost = Some(why),
            Notice::Told(what) => self.dialog = Some(Dialog::Told(what)),
            Notice::End => return Step::Quit,
        }
        Step::Stay
    }

    fn beat(&mut self, now: Snapshot) {
        self.lost = None;
        self.past.add(&now);
        if !self.is_paused {
            self.now = Some(now);
            self.scroll(0);
        }
    }

    /// Whether connections are being closed, or soon will be.
    pub(super) fn is_draining(&self) -> bool {
        self.now.as_ref().is_some_and(|now| !["", "none"].contains(&now.drain.state.as_str()))
    }

    /// Does what `key` is for.
    pub(super) fn press(&mut self, key: KeyEvent) -> Step {
        let is_interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
        if is_interrupt {
            return Step::Quit;
        }
        if let Some(dialog) = self.dialog.take() {
            return match (dialog, key.code) {
                (Dialog::Drain, KeyCode::Char('y')) => Step::Post("/api/drain"),
                (Dialog::CancelDrain, KeyCode::Char('y')) => Step::Post("/api/drain/cancel"),
                _ => Step::Stay,
            };
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Step::Quit,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('?' | 'h') => self.dialog = Some(Dialog::Help),
            KeyCode::Char('d') if self.is_draining() => self.dialog = Some(Dialog::CancelDrain),
            KeyCode::Char('d') => self.dialog = Some(Dialog::Drain),
            KeyCode::Tab | KeyCode::Right => self.turn_to(self.list.beside(1)),
            KeyCode::BackTab | KeyCode::Left => self.turn_to(self.list.beside(List::ALL.len() - 1)),
            KeyCode::Down | KeyCode::Char('j') => self.scroll(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(-1),
            KeyCode::PageDown => self.scroll(PAGE as isize),
            KeyCode::PageUp => self.scroll(-(PAGE as isize)),
            KeyCode::Home => self.scrolled = 0,
            KeyCode::End => self.scroll(isize::MAX),
            _ => {}
        }
        Step::Stay
    }

    fn turn_to(&mut self, list: List) {
        self.list = list;
        self.scrolled = 0;
    }

    fn scroll(&mut self, rows: isize) {
        let all = self.now.as_ref().map_or(0, |now| self.list.rows(now));
        self.scrolled = self.scrolled.saturating_add_signed(rows).min(all.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(view: &mut View, code: KeyCode) -> Step {
        view.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn beat(connections: u64, drain: &str) -> Notice {
        let mut now = Snapshot::default();
        now.connections.now = connections;
        now.drain.state = drain.to_owned();
        now.shards = vec![crate::control::dashboard::snapshot::Shard::default(); 30];
        Notice::Event(serde_json::to_string(&now).unwrap())
    }

    fn view() -> View {
        let mut view = View::new("http://127.0.0.1:8001");
        view.take(beat(1, "none"));
        view
    }

    #[test]
    fn a_drain_is_asked_for_only_after_a_yes() {
        let mut view = view();
        assert_eq!(press(&mut view, KeyCode::Char('d')), Step::Stay);
        assert_eq!(view.dialog, Some(Dialog::Drain));
        assert_eq!(press(&mut view, KeyCode::Enter), Step::Stay, "anything but y is a no");
        assert_eq!(view.dialog, None);
        press(&mut view, KeyCode::Char('d'));
        assert_eq!(press(&mut view, KeyCode::Char('y')), Step::Post("/api/drain"));
        view.take(beat(1, "closing"));
        press(&mut view, KeyCode::Char('d'));
        assert_eq!(press(&mut view, KeyCode::Char('y')), Step::Post("/api/drain/cancel"));
    }

    #[test]
    fn a_pause_holds_what_is_shown_and_not_what_is_remembered() {
        let mut view = view();
        press(&mut view, KeyCode::Char('p'));
        view.take(beat(2, "none"));
        assert_eq!(view.now.as_ref().unwrap().connections.now, 1);
        assert_eq!(view.past.connections, [1, 2]);
        press(&mut view, KeyCode::Char('p'));
        view.take(beat(3, "none"));
        assert_eq!(view.now.unwrap().connections.now, 3);
    }

    #[test]
    fn the_past_is_bounded() {
        let mut view = view();
        for connections in 0..1_000 {
            view.take(beat(connections, "none"));
        }
        assert_eq!((view.past.connections.len(), view.past.connections.back()), (BEATS_MAX, Some(&999)));
    }

    #[test]
    fn keys_turn_pages_and_stay_within_the_list() {
        let mut view = view();
        for _ in 0..9 {
            press(&mut view, KeyCode::PageDown);
        }
        assert_eq!(view.scrolled, 29);
        press(&mut view, KeyCode::Tab);
        assert_eq!((view.list, view.scrolled), (List::Rooms, 0));
        press(&mut view, KeyCode::Down);
        assert_eq!(view.scrolled, 0, "there is no room");
        press(&mut view, KeyCode::BackTab);
        press(&mut view, KeyCode::BackTab);
        assert_eq!(view.list, List::Limits);
    }

    #[test]
    fn what_broke_is_told_until_it_works_again() {
        let mut view = view();
        view.take(Notice::Lost("gone".to_owned()));
        assert_eq!((view.lost.as_deref(), view.now.is_some()), (Some("gone"), true));
        view.take(Notice::Event("{}".to_owned()));
        assert!(view.lost.as_ref().unwrap().contains("another version"));
        view.take(beat(1, "none"));
        assert_eq!(view.lost, None);
    }

    #[test]
    fn it_ends_by_key_and_by_signal() {
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(press(&mut view(), code), Step::Quit);
        }
        let mut asked = view();
        press(&mut asked, KeyCode::Char('d'));
        assert_eq!(asked.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Step::Quit);
        assert_eq!(view().take(Notice::End), Step::Quit);
    }
}
