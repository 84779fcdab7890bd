//! The dashboard's snapshots: figures that are what clients did, for whom they are, and what they cost when
//! nobody looks. The page is in `tests/sdk/browser/dashboard.test.mjs`.

pub mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Instant;

use common::{Client, PATIENCE, Server};
use serde_json::json;
use throng::control::dashboard::Snapshot;

/// Who looks at once, at most.
const VIEWERS_MAX: usize = 64;

/// A stream of snapshots.
struct Viewer(BufReader<TcpStream>);

impl Viewer {
    /// Asks for `path` with these header lines; the status, and what comes behind the head.
    fn ask(server: &Server, path: &str, headers: &str) -> (u16, Viewer) {
        let mut stream = TcpStream::connect(server.admin()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\n{headers}\r\n").unwrap();
        let mut viewer = Viewer(BufReader::new(stream));
        let status = viewer.line().split(' ').nth(1).unwrap().parse().unwrap();
        while !viewer.line().is_empty() {}
        (status, viewer)
    }

    fn of(server: &Server) -> Viewer {
        let (status, viewer) = Viewer::ask(server, "/dashboard/events", "Host: localhost\r\n");
        assert_eq!(status, 200);
        viewer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
        line.trim_end().to_owned()
    }

    fn next(&mut self) -> Snapshot {
        loop {
            if let Some(json) = self.line().strip_prefix("data: ") {
                return serde_json::from_str(json).unwrap();
            }
        }
    }

    /// The first snapshot that is `wanted`.
    #[track_caller]
    fn until(&mut self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let snapshot = self.next();
            if wanted(&snapshot) {
                return snapshot;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}: {snapshot:?}");
        }
    }
}

/// The answer to a request that closes its connection.
fn answer(server: &Server, path: &str, headers: &str) -> (u16, String) {
    let headers = format!("{headers}Connection: close\r\n");
    let (status, mut viewer) = Viewer::ask(server, path, &headers);
    let mut body = String::new();
    std::io::Read::read_to_string(&mut viewer.0, &mut body).unwrap();
    (status, body)
}

fn members(server: &Server, room: &str, count: usize) -> Vec<Client> {
    let subscribed = || {
        let mut client = server.client();
        client.subscribe(room);
        client
    };
    std::iter::repeat_with(subscribed).take(count).collect()
}

#[test]
fn a_snapshot_has_what_clients_did() {
    const MEMBERS: usize = 12;
    const MESSAGES: u64 = 50;
    let server = Server::with_shards("", 3);
    let mut viewer = Viewer::of(&server);
    let before = viewer.next();
    assert_eq!((before.connections.now, before.connections.peak, before.latency.count), (0, 0, 0));
    assert_eq!((before.phase.as_str(), before.drain.state.as_str()), ("ready", "none"));
    assert_eq!((before.shards.len(), before.rooms.len()), (3, 0));
    assert!(before.shards.iter().all(|shard| shard.is_listening && shard.cpu.is_some()));

    let mut hot = members(&server, "hot", MEMBERS);
    let mut cold = members(&server, "cold", 1);
    let begun = Instant::now();
    cold[0].publish("cold", json!(0));
    cold[0].next_data("cold");
    for number in 0..MESSAGES {
        hot[0].publish("hot", json!(number));
    }
    for client in &mut hot {
        (0..MESSAGES).for_each(|number| assert_eq!(client.next_data("hot"), json!(number)));
    }
    let metrics = server.metrics();
    let is_measured =
        |snapshot: &Snapshot| snapshot.latency.count >= metrics.get("throng_publish_seconds_count");
    let after = viewer.until("all publications", is_measured);
    let held = MEMBERS as u64 + 1;
    assert_eq!((after.connections.now, after.connections.peak), (held, held));
    assert_eq!(after.shards.iter().map(|shard| shard.connections).sum::<u64>(), held);
    // Each shard that has members measures each message.
    let with_members = after.shards.iter().filter(|shard| shard.connections > 0).count() as u64;
    assert!((MESSAGES..=(MESSAGES + 1) * with_members).contains(&after.latency.count), "{after:?}");
    let most_us = begun.elapsed().as_micros() as u64;
    assert!(0 < after.latency.p50_us && after.latency.p50_us <= after.latency.p99_us, "{after:?}");
    assert!(after.latency.p99_us <= most_us + most_us / 8, "{after:?}");
    assert!(after.memory.user_bytes.unwrap() > 0);
    assert_eq!(after.backlog.bytes_max, 1 << 30);
    assert!(
        after.limits.iter().any(|limit| limit.name == "RLIMIT_NOFILE" && limit.used == held),
        "{after:?}"
    );
    let parts: Vec<_> = after.limits.iter().map(|limit| limit.used as f64 / limit.max as f64).collect();
    assert!(parts.is_sorted_by(|one, other| one >= other), "the nearest is not first: {after:?}");

    drop((hot, cold));
    let last = viewer.until("everybody to leave", |snapshot| snapshot.connections.now == 0);
    assert_eq!(last.connections.peak, held);
    let ended = last.closes.iter().map(|closes| closes.count).sum::<u64>();
    assert_eq!(ended, held, "{last:?}");
}

#[test]
fn rates_and_the_hottest_rooms_are_those_of_the_beat() {
    let server = Server::with_shards("", 2);
    let mut viewer = Viewer::of(&server);
    let mut crowd = members(&server, "crowd", 9);
    let mut pair = members(&server, "pair", 2);
    viewer.next();
    // Until a beat falls between two rounds and not into one.
    let deadline = Instant::now() + PATIENCE;
    let seen = loop {
        assert!(Instant::now() < deadline, "no beat has whole rounds");
        crowd[0].publish("crowd", json!(1));
        pair[0].publish("pair", json!(2));
        crowd.iter_mut().for_each(|client| drop(client.next_data("crowd")));
        pair.iter_mut().for_each(|client| drop(client.next_data("pair")));
        let snapshot = viewer.next();
        if let [first, second] = &snapshot.rooms[..]
            && first.deliveries / second.deliveries == 4.5
        {
            break snapshot;
        }
    };
    let rooms: Vec<_> = seen.rooms.iter().map(|room| (&*room.name, room.members, room.error)).collect();
    assert_eq!(rooms, [("crowd", 9, 0.0), ("pair", 2, 0.0)]);
    let in_rooms: f64 = seen.rooms.iter().map(|room| room.deliveries).sum();
    // The publish replies are deliveries too, and of no room.
    assert!(seen.rates.deliveries > 0.0 && in_rooms > 0.0 && seen.rates.messages_in > 0.0, "{seen:?}");
    let quiet = viewer.until("a beat without deliveries", |snapshot| snapshot.rates.deliveries == 0.0);
    assert_eq!((quiet.rates.coalescing, quiet.rates.writes), (0.0, 0.0));
    assert_eq!(quiet.rooms, []);
}

#[test]
fn a_publication_with_history_is_measured_from_when_it_was_asked_for() {
    let server = Server::start(
        "insecure = true\n[channel.without_namespace]\nhistory_size = 10\nhistory_ttl = '1h'\ndurability = 'fsync'",
    );
    let mut viewer = Viewer::of(&server);
    let mut client = members(&server, "kept", 1).pop().unwrap();
    let before = Instant::now();
    client.publish("kept", json!(1));
    client.next_data("kept");
    let most_us = before.elapsed().as_micros() as u64;
    let seen = viewer.until("the publication", |snapshot| snapshot.latency.count == 1);
    assert!((1..=most_us + most_us / 8).contains(&seen.latency.p99_us), "{most_us}: {seen:?}");
}

#[test]
fn a_room_in_feed_mode_is_measured_once_for_each_message_and_is_hot_by_its_members() {
    let config =
        "[[channel.namespaces]]\nname = 'feed'\nmember_cap = 2\nover_cap = 'feed'\nfeed_interval_ms = 100\n";
    let server = Server::with_shards(config, 1);
    let mut viewer = Viewer::of(&server);
    let mut last_ms = viewer.next().at_ms;
    let mut crowd = members(&server, "feed:a", 6);
    (0..3).for_each(|number| crowd[0].publish("feed:a", json!(number)));
    for client in &mut crowd {
        (0..3).for_each(|number| assert_eq!(client.next_data("feed:a"), json!(number)));
    }
    // A rate by the time between two snapshots is what was delivered, about: they are not made at once.
    let (mut delivered, deadline) = (0.0, Instant::now() + PATIENCE);
    let seen = loop {
        assert!(Instant::now() < deadline, "{delivered} were delivered to 6 members of 3 messages");
        let snapshot = viewer.next();
        let seconds = (snapshot.at_ms - last_ms) as f64 / 1e3;
        last_ms = snapshot.at_ms;
        let of_room = snapshot.rooms.iter().find(|room| room.name == "feed:a");
        delivered += of_room.map_or(0.0, |room| room.deliveries * seconds);
        if snapshot.latency.count >= 3 && delivered > 12.0 {
            break snapshot;
        }
    };
    assert_eq!(seen.latency.count, 3, "{seen:?}");
    assert!(delivered < 24.0, "{delivered} were delivered to 6 members of 3 messages");
}

#[test]
fn nothing_is_sampled_once_nobody_looks() {
    let server = Server::with_shards("", 2);
    let is_sampling = |server: &Server| server.metric("throng_dashboard_sampling") == 1;
    assert!(!is_sampling(&server));
    let mut viewer = Viewer::of(&server);
    viewer.next();
    assert!(is_sampling(&server));
    assert_eq!(server.metric("throng_dashboard_viewers"), 1);
    drop(viewer);
    server.wait_for("the sampler's end", |metrics| metrics.get("throng_dashboard_sampling") == 0);
    // Who looks later is shown the same as who looked first.
    let snapshot = Viewer::of(&server).next();
    assert_eq!(snapshot.shards.len(), 2);
}

#[test]
fn one_snapshot_is_json_and_leaves_nobody_looking() {
    let server = Server::start("");
    let (status, body) = answer(&server, "/dashboard/snapshot", "Host: localhost\r\n");
    let snapshot: Snapshot = serde_json::from_str(&body).unwrap();
    assert_eq!((status, snapshot.version.as_str()), (200, env!("CARGO_PKG_VERSION")));
    server.wait_for("nobody to look", |metrics| metrics.get("throng_dashboard_viewers") == 0);
}

#[test]
fn as_many_look_as_may_and_the_next_one_is_told_so() {
    let server = Server::start("");
    let mut viewers: Vec<_> = (0..VIEWERS_MAX).map(|_| Viewer::of(&server)).collect();
    for path in ["/dashboard/events", "/dashboard/snapshot"] {
        let (status, body) = answer(&server, path, "Host: localhost\r\n");
        assert_eq!((status, body.as_str()), (503, "64 look at the dashboard already; close one of them\n"));
    }
    viewers.iter_mut().for_each(|viewer| drop(viewer.next()));
    viewers.pop();
    server.wait_for("a place", |metrics| metrics.get("throng_dashboard_viewers") == VIEWERS_MAX as u64 - 1);
    Viewer::of(&server).next();
}

#[test]
fn only_this_machine_may_look_and_no_page_of_another_site() {
    let server = Server::start("");
    let port = server.admin().port();
    for path in ["/dashboard", "/dashboard/events", "/dashboard/snapshot"] {
        for headers in [
            "Host: throng.example\r\n".to_owned(),
            format!("Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"),
            format!("Host: 127.0.0.1:{port}\r\nSec-Fetch-Site: cross-site\r\n"),
            format!("Host: 127.0.0.1:{port}\r\nX-Forwarded-For: 192.0.2.7\r\n"),
        ] {
            let (status, body) = answer(&server, path, &headers);
            assert_eq!(status, 403, "{path} with {headers}: {body}");
        }
    }
    assert_eq!(server.metric("throng_dashboard_viewers"), 0);
    let own = format!("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n");
    assert_eq!(answer(&server, "/dashboard/snapshot", &own).0, 200);
}

#[test]
fn the_page_asks_whoever_may_not_look_for_the_key_and_tells_nothing_else() {
    let server = Server::start("[http_api]\nkey = '0123456789abcdef'");
    let elsewhere = "Host: throng.example\r\nX-Forwarded-For: 192.0.2.7\r\n";
    let with_key = format!("{elsewhere}X-API-Key: 0123456789abcdef\r\n");
    let (refused, asking) = answer(&server, "/dashboard", elsewhere);
    let (let_in, page) = answer(&server, "/dashboard", &with_key);
    assert_eq!((refused, let_in), (401, 200));
    let without_nonce = |page: &str| {
        let parts = page.split("nonce=\"").map(|part| part.split_once('"').map_or(part, |(_, rest)| rest));
        parts.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_nonce(&asking)[1..], without_nonce(&page)[1..], "the page is the same for everybody");
    for path in ["/dashboard/events", "/dashboard/snapshot"] {
        assert_eq!(answer(&server, path, elsewhere).0, 401, "{path}");
    }
    assert_eq!(answer(&server, "/dashboard/snapshot", &with_key).0, 200);
}
