//! What `throng top` looks like, as text.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::draw;
use super::feed::Notice;
use super::view::View;
use super::{plain, read};
use crate::control::dashboard::Snapshot;
use crate::control::dashboard::snapshot::{
    Backlog, Closes, Connections, Drain, Latency, Limit, Memory, Rates, Reason, Room, Shard, Slow,
};

fn shard(connections: u64, is_listening: bool) -> Shard {
    Shard {
        connections,
        is_listening,
        deliveries: 120_000.0,
        turns: 950.0,
        backlog_bytes: 1 << 20,
        cpu: Some(0.76),
    }
}

fn limit(name: &str, used: u64, max: u64, unit: &str) -> Limit {
    let [name, unit] = [name, unit].map(str::to_owned);
    Limit { name, used, max, unit, remedy: "limits.connections_max".to_owned() }
}

fn snapshot() -> Snapshot {
    Snapshot {
        version: "0.1.0".to_owned(),
        at_ms: 1_700_000_000_000,
        uptime_s: 3_725,
        phase: "ready".to_owned(),
        connections: Connections { now: 12_345, peak: 20_000 },
        rates: Rates {
            connects: 12.0,
            closes: 3.4,
            refusals: 0.0,
            messages_in: 20.0,
            deliveries: 240_000.0,
            writes: 20_000.0,
            coalescing: 12.0,
        },
        latency: Latency { count: 200, p50_us: 120, p99_us: 1_200 },
        backlog: Backlog { bytes: 3 << 20, bytes_max: 1 << 30 },
        slow: Slow { closed: vec![Reason { reason: "backlog".to_owned(), count: 7 }], recoveries: 2 },
        closes: vec![Closes { code: 1006, count: 4 }, Closes { code: 3001, count: 12 }],
        memory: Memory {
            user_bytes: Some(120 << 20),
            kernel_bytes: None,
            user_bytes_per_connection: Some(96.0),
            kernel_bytes_per_connection: None,
        },
        shards: vec![shard(8_000, true), shard(4_345, false)],
        rooms: vec![Room {
            name: "chat:\u{1b}[31mlobby".to_owned(),
            members: 10_000,
            deliveries: 200_000.0,
            error: 12.0,
        }],
        limits: vec![
            limit("connections", 12_345, 13_000, "connections"),
            limit("descriptors", 7_500, 10_000, "descriptors"),
            limit("backlog", 3 << 20, 1 << 30, "bytes"),
            limit("disk", 1 << 20, 1 << 40, "bytes"),
        ],
        drain: Drain { state: "none".to_owned(), ..Drain::default() },
    }
}

/// A view of some beats.
fn view() -> View {
    let mut view = View::new("http://127.0.0.1:8001");
    for beat in 0..30 {
        let mut now = snapshot();
        now.connections.now = 10_000 + beat * 100;
        show(&mut view, &now);
    }
    show(&mut view, &snapshot());
    view
}

fn show(view: &mut View, now: &Snapshot) {
    view.take(Notice::Event(serde_json::to_string(now).unwrap()));
}

fn press(view: &mut View, code: KeyCode) {
    view.press(KeyEvent::new(code, KeyModifiers::NONE));
}

/// What a terminal of this size shows.
fn drawn(view: &View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(row).collect()
}

fn assert_drawn(view: &View, [width, height]: [u16; 2], expected: &str) {
    let drawn = drawn(view, width, height).join("\n");
    assert_eq!(drawn.trim_end(), expected.trim_matches('\n'), "\n{drawn}\n");
}

#[test]
fn a_terminal_of_80_by_24_shows_everything() {
    let expected = "
 throng 0.1.0  ready  up 1 h 2 min  22:13:20 UTC  http://127.0.0.1:8001
 connections   12,345 now, 20,000 peak                  ▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇█▇
 comings       12/s opened, 3.4/s closed, 0/s refused
 deliveries    240,000/s, 12 a write                    ████████████████████████
 messages in   20/s
 to last write p99 1.2 ms, p50 120 µs                   ████████████████████████
 backlog       3.0 MiB of 1.0 GiB                       ████████████████████████
 slow readers  7 closed (backlog 7), 2 recovered
 memory        user 120.0 MiB (96 B each), kernel unknown
 closes        3001: 12, 1006: 4
 ███████████████████░  95 % connections  12.3k of 13.0k
 ███████████████░░░░░  75 % descriptors  7500 of 10.0k
 █░░░░░░░░░░░░░░░░░░░   0 % backlog  3.0 MiB of 1.0 GiB
 Shards 2   Rooms 1   Walls 4
 #                    conns  deliv/s     CPU    turns/s  backlog
 0   ████████████████ 8000   120,000     76 %   950      1.0 MiB    listens
 1   █████████░░░░░░░ 4345   120,000     76 %   950      1.0 MiB    shut






 q quit  p pause  tab next list  ↑↓ scroll  d drain  ? help";
    assert_drawn(&view(), [80, 24], expected);
}

#[test]
fn a_small_one_shows_what_matters() {
    let expected = "
 throng 0.1.0  ready  up 1 h 2 min  22:1
 connections   12,345 now, 20,000 peak
 comings       12/s opened, 3.4/s closed
 deliveries    240,000/s, 12 a write
 messages in   20/s
 to last write p99 1.2 ms, p50 120 µs
 backlog       3.0 MiB of 1.0 GiB
 slow readers  7 closed (backlog 7), 2 r
 memory        user 120.0 MiB (96 B each
 closes        3001: 12, 1006: 4
 █████████░  95 % connections  12.3k of
 ████████░░  75 % descriptors  7500 of 1
 █░░░░░░░░░   0 % backlog  3.0 MiB of 1.
 Shards 2   Rooms 1   Walls 4
 #   conns  deliv/s     CPU
 0   8000   120,000     76 %   listens
 1   4345   120,000     76 %   shut


 q quit  p pause  tab next list  ↑↓ scro";
    assert_drawn(&view(), [40, 20], expected);
}

#[test]
fn rooms_and_walls_are_lists_too_and_a_room_s_name_cannot_speak_to_the_terminal() {
    let mut view = view();
    press(&mut view, KeyCode::Tab);
    let rooms = drawn(&view, 80, 24).join("\n");
    assert!(rooms.contains("200,000 -12") && rooms.contains("chat:\u{FFFD}[31mlobby"), "{rooms}");
    press(&mut view, KeyCode::Tab);
    let walls = drawn(&view, 80, 24).join("\n");
    assert!(walls.contains("95 % connections") && walls.contains("limits.connections_max"), "{walls}");
    press(&mut view, KeyCode::Down);
    let list = drawn(&view, 80, 24)[14..].join("\n");
    assert!(!list.contains("95 %") && list.contains("75 %"), "{list}");
}

#[test]
fn a_drain_is_seen_and_asked_about() {
    let mut view = view();
    press(&mut view, KeyCode::Char('d'));
    let asked = drawn(&view, 80, 24).join("\n");
    assert!(asked.contains("Drain?") && asked.contains("All 12,345 connections of"), "{asked}");
    let mut now = snapshot();
    now.phase = "draining".to_owned();
    now.drain = Drain { state: "closing".to_owned(), total: 12_345, closed: 1_000, left_ms: 61_000 };
    show(&mut view, &now);
    press(&mut view, KeyCode::Esc);
    let seen = drawn(&view, 80, 24).join("\n");
    assert!(
        seen.contains("1,000 of 12,345 closed, 1 min 1 s left") && seen.contains("cancel drain"),
        "{seen}"
    );
}

#[test]
fn what_broke_stands_on_top_and_the_last_beat_stays() {
    let mut view = view();
    view.take(Notice::Lost("http://127.0.0.1:8001 ended".to_owned()));
    let lines = drawn(&view, 80, 24);
    assert!(lines[0].contains("no beats since 22:13:20 UTC") && lines[1].contains("12,345 now"), "{lines:?}");
    let nothing = View::new("http://127.0.0.1:8001");
    assert!(drawn(&nothing, 80, 24).join("\n").contains("waiting for the first beat"));
}

#[test]
fn it_is_drawn_at_any_size() {
    let mut view = view();
    for width in [1, 2, 7, 13, 39, 75, 76, 200] {
        for height in [1, 2, 3, 11, 19, 60] {
            for dialog in [false, true] {
                if dialog {
                    press(&mut view, KeyCode::Char('?'));
                }
                assert_eq!(drawn(&view, width, height).len(), usize::from(height));
            }
            press(&mut view, KeyCode::Esc);
        }
    }
}

#[test]
fn a_beat_is_one_line_and_a_report_has_everything() {
    let now = snapshot();
    assert_eq!(
        plain::line(&now),
        "22:13:20 ready: 12,345 connections, +12/s -3.4/s, 240,000 deliveries/s in 20,000 writes/s, p99 1.2 ms, \
         backlog 3.0 MiB, nearest wall connections 95 %"
    );
    let report = plain::report(&now);
    for told in [
        "throng 0.1.0, 22:13:20 UTC",
        "phase          ready, up 1 h 2 min",
        "connections    12,345 now, 20,000 peak",
        "memory         user 120.0 MiB (96 B each), kernel unknown",
        "closes         3001: 12, 1006: 4",
        "shard 1  4,345 connections, 120,000 deliveries/s, backlog 1.0 MiB, CPU 76 %, does not listen",
        "connections  95 %, 12.3k of 13.0k; limits.connections_max",
        "chat:\u{FFFD}[31mlobby  200,000 deliveries/s, 10,000 members",
    ] {
        assert!(report.contains(told), "{told:?} is not in\n{report}");
    }
}

#[test]
fn a_snapshot_of_another_version_is_refused_in_words() {
    assert!(read("{\"connections\":1}").unwrap_err().contains("another version"));
}
