//! Who is let in: so many in a second, so many from one address, and only while there is memory. Whoever is
//! refused is told why, and those who are served notice nothing.

pub mod common;
pub mod hostile;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use common::{Client, PATIENCE, Server};
use hostile::{Neighbour, Raw, UPGRADE};
use socket2::{Domain, Socket, Type};

/// How many requests were refused for `reason`.
fn refused(server: &Server, reason: &str) -> u64 {
    server.metric(&format!("throng_upgrades_refused_total{{reason=\"{reason}\"}}"))
}

/// A connection to `server` from another address of this machine.
fn from(address: &str, server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(address.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&server.address().into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes back on `stream` for an upgrade request, up to the end of the head or of the connection.
fn answer(stream: &mut TcpStream) -> String {
    // A server that refuses on sight may be gone before the request is.
    let _ = stream.write_all(UPGRADE.as_bytes());
    head(stream)
}

fn head(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
        answer.extend_from_slice(&byte);
    }
    String::from_utf8(answer).unwrap()
}

/// The seconds after which `answer` asks to come again.
fn again_s(answer: &str) -> u32 {
    let value = answer.lines().find_map(|line| line.strip_prefix("Retry-After: "));
    value.unwrap_or_else(|| panic!("{answer:?} does not say when to come again")).parse().unwrap()
}

#[test]
fn an_address_has_so_many_connections_and_gets_a_place_back_when_one_goes() {
    let server = Server::with_shards("insecure = true\n[admission]\nconnections_per_address_max = 3\n", 2);
    let mut inside: Vec<_> = (0..3).map(|_| server.client()).collect();
    for _ in 0..100 {
        let answer = answer(&mut server.tcp());
        assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
        assert!((5..=15).contains(&again_s(&answer)), "{answer}");
    }
    let metrics = server.metrics();
    let refused = metrics.get("throng_upgrades_refused_total{reason=\"address_connections\"}");
    assert_eq!(
        (refused, metrics.sum("throng_connections"), metrics.sum("throng_accepts_total")),
        (100, 3, 103)
    );
    // Another address is another client.
    let stream = from("127.0.0.2", &server);
    let mut other = Client::upgrade(stream, "/connection/websocket", &[]).unwrap();
    other.connect(serde_json::json!({}));
    inside[1].subscribe("room");
    drop(inside.pop());
    server.wait_for("a place", |metrics| metrics.sum("throng_connections") == 3);
    inside.push(server.client());
}

#[test]
fn a_flood_from_one_address_harms_nobody_at_another() {
    let server = Server::start("insecure = true\n[admission]\nconnections_per_address_max = 8\n");
    let mut neighbour = Neighbour::of(&server);
    // They say nothing and stay: without a limit each would have a place until the upgrade times out.
    let flood: Vec<_> = (0..500).map(|_| from("127.0.0.2", &server)).collect();
    server.wait_for("all seen", |metrics| metrics.sum("throng_accepts_total") == 501);
    neighbour.is_served();
    assert_eq!(server.metrics().sum("throng_connections"), 9);
    let refusals = flood.into_iter().filter_map(|mut stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        let head = head(&mut stream);
        (!head.is_empty()).then_some(head)
    });
    let refusals: Vec<_> = refusals.collect();
    assert!(refusals.iter().all(|head| head.starts_with("HTTP/1.1 429 ")), "{refusals:?}");
    assert_eq!(refusals.len(), 492);
    server.wait_for("the neighbour alone", |metrics| metrics.sum("throng_connections") == 1);
    // Every place has come back.
    let again: Vec<_> = (0..8).map(|_| from("127.0.0.2", &server)).collect();
    server.wait_for("all places taken again", |metrics| metrics.sum("throng_connections") == 9);
    assert_eq!((refused(&server, "address_connections"), again.len()), (492, 8));
}

#[test]
fn an_address_connects_so_often_in_a_second_whatever_becomes_of_it() {
    // Far fewer a second than this test needs to make them.
    let config = "insecure = true\n[admission]\nconnects_per_second_per_address = 4\n";
    let server = Server::with_shards(config, 2);
    let mut answers: Vec<_> = (0..40).map(|_| answer(&mut server.tcp())).collect();
    answers.retain(|answer| !answer.starts_with("HTTP/1.1 101 "));
    assert!(answers.len() > 4, "{}", answers.len());
    for answer in &answers {
        assert!(answer.starts_with("HTTP/1.1 429 ") && (1..=3).contains(&again_s(answer)), "{answer}");
    }
    assert_eq!(refused(&server, "address_connects"), answers.len() as u64);
}

#[test]
fn more_upgrades_than_the_server_takes_in_a_second_are_asked_to_come_later() {
    let server = Server::start("insecure = true\n[admission]\nconnects_per_second = 5\n");
    let mut neighbour = Neighbour::of(&server);
    let mut streams: Vec<_> = (0..60).map(|_| server.tcp()).collect();
    let answers: Vec<_> = streams.iter_mut().map(answer).collect();
    let (upgraded, turned): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.starts_with("HTTP/1.1 101 "));
    assert!(upgraded.len() >= 4 && turned.len() >= 5, "{} and {}", upgraded.len(), turned.len());
    for answer in &turned {
        assert!(answer.starts_with("HTTP/1.1 503 ") && (1..=60).contains(&again_s(answer)), "{answer}");
    }
    assert_eq!(refused(&server, "connects"), turned.len() as u64);
    neighbour.is_served();
    // It is not judged what they ask for: too many are too many.
    let before = refused(&server, "connects");
    let garbage: Vec<_> = (0..30).map(|_| server.raw(b"\0\x01\x02")).collect();
    let turned = garbage.iter().filter(|answer| answer.starts_with("HTTP/1.1 503 ")).count() as u64;
    assert!(turned > 0);
    assert_eq!(refused(&server, "connects"), before + turned);
}

#[test]
fn a_request_in_many_pieces_is_one_connect() {
    let server = Server::start("insecure = true\n[admission]\nconnects_per_second = 2\n");
    let mut neighbour = Neighbour::of(&server);
    let mut raw = Raw::dial(&server);
    for byte in UPGRADE.as_bytes() {
        raw.send([*byte]);
        // Accepted in the neighbour's first turn at the latest, read in its second.
        neighbour.is_served();
        neighbour.is_served();
    }
    raw.expect_101();
    assert_eq!(refused(&server, "connects"), 0);
}

#[test]
fn whoever_is_not_accepted_yet_waits_and_gets_in() {
    let server = Server::start("insecure = true\n[admission]\naccepts_per_second = 10\n");
    let mut neighbour = Neighbour::of(&server);
    let mut streams: Vec<_> = (0..50).map(|_| server.tcp()).collect();
    for stream in &mut streams {
        stream.write_all(UPGRADE.as_bytes()).unwrap();
    }
    neighbour.is_served();
    let metrics = server.metrics();
    assert!(metrics.sum("throng_accepts_total") < 51, "all at once");
    assert!(metrics.get("throng_accept_pauses_total") > 0);
    for stream in &mut streams {
        assert!(head(stream).starts_with("HTTP/1.1 101 "));
    }
    let metrics = server.metrics();
    assert_eq!((metrics.sum("throng_accepts_total"), metrics.get("throng_upgrades_total")), (51, 51));
    // It slept meanwhile: some turns for each that it waited for, not one after the other.
    let turns = metrics.sum("throng_turns_total");
    assert!(turns < 2_000, "{turns} turns");
}

#[test]
fn whoever_gave_up_waiting_keeps_nobody_out() {
    // Counted, they alone would be accepted for a minute.
    let server = Server::start("insecure = true\n[admission]\naccepts_per_second = 1\n");
    drop(server.client());
    for _ in 0..60 {
        let mut stream = server.tcp();
        stream.write_all(UPGRADE.as_bytes()).unwrap();
    }
    let mut client = server.client();
    client.subscribe("room");
    let metrics = server.metrics();
    // The first of them may have come when there was a place, or have been there still.
    assert!(metrics.get("throng_upgrades_abandoned_total") >= 50, "{metrics:#?}");
}

#[test]
fn without_memory_nobody_new_is_let_in() {
    // More than one percent of the memory is always in use.
    let server = Server::start("insecure = true\n[admission]\nmemory_max_percent = 1\n");
    for _ in 0..3 {
        let answer = answer(&mut server.tcp());
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        assert!((5..=15).contains(&again_s(&answer)), "{answer}");
    }
    let metrics = server.metrics();
    assert_eq!(metrics.get("throng_upgrades_refused_total{reason=\"memory\"}"), 3);
    assert_eq!((metrics.sum("throng_connections"), metrics.get("throng_memory_refusing")), (0, 1));
    assert_eq!(server.log().matches("new connections are refused until").count(), 1, "{}", server.log());
    assert!(server.admin_get("/readyz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn without_limits_nobody_is_counted_and_the_memory_is_not_looked_at() {
    let server = Server::start("");
    let clients: Vec<_> = (0..50).map(|_| server.client()).collect();
    let metrics = server.metrics();
    assert_eq!((metrics.sum("throng_connections"), clients.len()), (50, 50));
    for metric in ["throng_memory_refusing", "throng_memory_used_ratio", "throng_accept_pauses_total"] {
        assert_eq!(metrics.get(metric), 0, "{metric}");
    }
}
