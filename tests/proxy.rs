//! PROXY headers of balancers: believed from those that are listed, refused from everybody else, and the
//! same whatever pieces they come in.

pub mod common;
pub mod hostile;

use std::io::Write;
use std::net::{IpAddr, Shutdown};

use common::{Client, Server};
use hostile::{Neighbour, Raw, UPGRADE, text};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use throng::wire::proxy;

/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A server that trusts this machine, and counts.
const TRUSTING: &str =
    "insecure = true\n[admission]\nproxy_protocol_from = ['127.0.0.1']\nconnections_per_address_max = 2\n";

/// A header of version 1 for a client.
fn line(client: &str) -> Vec<u8> {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    format!("PROXY {family} {client} {client} 4242 443\r\n").into_bytes()
}

/// A header of version 2.
fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[command, family], &(payload.len() as u16).to_be_bytes(), payload].concat()
}

/// The payload of version 2 for a client.
fn addresses(client: &str) -> Vec<u8> {
    let (address, ports) = (client.parse::<IpAddr>().unwrap(), [16, 146, 1, 187]);
    match address {
        IpAddr::V4(address) => [&address.octets()[..], &[198, 51, 100, 1], &ports].concat(),
        IpAddr::V6(address) => [&address.octets()[..], &[1; 16], &ports].concat(),
    }
}

fn refused(server: &Server, reason: &str) -> u64 {
    server.metric(&format!("throng_upgrades_refused_total{{reason=\"{reason}\"}}"))
}

/// Sends a header and a request; the answer's head.
fn answer(server: &Server, header: &[u8]) -> String {
    server.response_head(&[header, UPGRADE.as_bytes()].concat())
}

/// A client behind the balancer, which has upgraded.
fn behind(server: &Server, header: &[u8]) -> Raw {
    let mut raw = Raw::dial(server);
    raw.send([header, UPGRADE.as_bytes()].concat());
    raw.expect_101();
    raw
}

#[test]
fn clients_behind_a_balancer_are_served_and_counted_by_their_own_addresses() {
    let server = Server::with_shards(TRUSTING, 2);
    let mut inside = Vec::new();
    for header in [
        line("192.0.2.1"),
        binary(0x21, 0x11, &addresses("192.0.2.1")),
        line("192.0.2.2"),
        binary(0x21, 0x11, &[addresses("192.0.2.2"), vec![4, 0, 1, 0]].concat()),
        // One /64, and another.
        line("2001:db8::1"),
        binary(0x21, 0x21, &addresses("2001:db8::ffff:1")),
        line("2001:db8:0:1::1"),
    ] {
        inside.push(behind(&server, &header));
    }
    for header in [
        line("192.0.2.1"),
        binary(0x21, 0x11, &addresses("192.0.2.2")),
        line("2001:db8::2"),
        line("::ffff:192.0.2.1"),
    ] {
        let answer = answer(&server, &header);
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    }
    assert_eq!(refused(&server, "address_connections"), 4);
    inside[0].send(text(r#"{"id":1,"connect":{}}"#));
    assert!(inside[0].reply().starts_with(r#"{"id":1,"connect":{"#));
    // Its place is free again once it has gone.
    drop(inside.remove(0));
    server.wait_for("the others", |metrics| metrics.sum("throng_connections") == 6);
    inside.push(behind(&server, &line("192.0.2.1")));
}

#[test]
fn the_balancer_s_own_connections_are_not_limited() {
    let server = Server::start(TRUSTING);
    let own = [binary(0x20, 0, &[]), binary(0x20, 0x11, &[0; 12]), b"PROXY UNKNOWN\r\n".to_vec()];
    let connections: Vec<_> = own.iter().cycle().take(9).map(|header| behind(&server, header)).collect();
    assert_eq!(server.metrics().sum("throng_connections"), connections.len() as u64);
    // A health check that says no more than that it is one, or nothing at all.
    for header in [&own[0][..], b""] {
        let mut check = Raw::dial(&server);
        check.send(header);
        check.stream().shutdown(Shutdown::Write).unwrap();
        check.expect_end();
    }
    server.wait_for("the checks to be gone", |metrics| {
        metrics.get("throng_upgrades_abandoned_total") == 2 && metrics.sum("throng_connections") == 9
    });
}

#[test]
fn a_balancer_without_a_header_or_with_a_malformed_one_is_refused_and_told_why() {
    let server = Server::start(TRUSTING);
    let mut neighbour = behind(&server, &line("192.0.2.1"));
    neighbour.send(text(r#"{"id":1,"connect":{}}"#));
    assert!(neighbour.reply().starts_with(r#"{"id":1,"connect":{"#));
    let long = format!("PROXY UNKNOWN {}", "x".repeat(200)).into_bytes();
    let faults: [(&[u8], &str); 7] = [
        (b"", "must begin with a PROXY header; none came."),
        (b"\x16\x03\x01", "must begin with a PROXY header; none came."),
        (b"PROXY TCP4 192.0.2.1 192.0.2.1 1\r\n", "is not one of version 1 or 2"),
        (b"PROXY TCP4 nobody 192.0.2.1 1 2\r\n", "is not one of version 1 or 2"),
        (&long, "is not one of version 1 or 2"),
        (&binary(0x11, 0x11, &[0; 12]), "is not one of version 1 or 2"),
        (&binary(0x20, 0, &[0; 60_000]), "is not one of version 1 or 2"),
    ];
    for (number, (header, reason)) in (1..).zip(faults) {
        let answer = server.raw(&[header, UPGRADE.as_bytes()].concat());
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(reason), "{header:02x?}: {answer}");
        assert_eq!(refused(&server, "proxy_header"), number);
    }
    assert_eq!((server.metric("throng_upgrades_total"), refused(&server, "not_http")), (1, 0));
}

#[test]
fn a_header_from_anybody_else_is_not_read() {
    for config in ["", "insecure = true\nadmission.proxy_protocol_from = ['192.0.2.0/24', '127.0.0.2']"] {
        let server = Server::start(config);
        let mut neighbour = Neighbour::of(&server);
        let headers = [line("192.0.2.1"), b"PROXY UNKNOWN\r\n".to_vec(), binary(0x21, 0x11, &[1; 12])];
        for header in &headers {
            let answer = server.raw(&[header, UPGRADE.as_bytes()].concat());
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            assert!(answer.contains(
                "from an address that admission.proxy_protocol_from does not list, or a second one."
            ));
            neighbour.is_served();
        }
        assert_eq!(refused(&server, "proxy_untrusted"), 3);
        assert_eq!(server.metric("throng_upgrades_total"), 1);
    }
}

#[test]
fn a_client_cannot_speak_for_another_through_its_balancer() {
    let server = Server::start(TRUSTING);
    let headers = [line("192.0.2.1"), line("192.0.2.9")].concat();
    assert!(answer(&server, &headers).starts_with("HTTP/1.1 400 "));
    assert_eq!(refused(&server, "proxy_untrusted"), 1);
}

#[test]
fn a_header_and_a_request_may_be_cut_anywhere() {
    let server = Server::start("insecure = true\nadmission.proxy_protocol_from = ['127.0.0.1']");
    let mut stream = server.tcp();
    stream.write_all(&line("192.0.2.200")).unwrap();
    let mut neighbour = Client::upgrade(stream, "/connection/websocket", &[]).unwrap();
    neighbour.connect(json!({}));
    neighbour.subscribe("a");
    for header in [line("192.0.2.1"), binary(0x21, 0x11, &addresses("192.0.2.1"))] {
        let all = [&header[..], UPGRADE.as_bytes(), &text(r#"{"id":1,"connect":{}}"#)].concat();
        let cuts = (1..=header.len() + 3).chain([all.len() - 40]);
        for cut in cuts {
            let mut raw = Raw::dial(&server);
            raw.send(&all[..cut]);
            // Accepted in the first turn at the latest, read in the second.
            for _ in 0..2 {
                neighbour.publish("a", json!(cut));
                assert_eq!(neighbour.next_data("a"), json!(cut));
            }
            raw.send(&all[cut..]);
            raw.expect_101();
            assert!(raw.reply().starts_with(r#"{"id":1,"connect":{"#), "cut at {cut}");
        }
    }
}

#[test]
fn a_header_that_drips_is_answered_408_and_counts_for_nobody() {
    let server = Server::start(&format!("{TRUSTING}[limits]\nupgrade_timeout_ms = 200\n"));
    for begun in [&b""[..], b"PROXY TCP4 192", &SIGNATURE[..3]] {
        assert!(server.raw(begun).starts_with("HTTP/1.1 408 "));
    }
    // With its header and no request it had a place, which is free again.
    for _ in 0..3 {
        assert!(server.raw(&line("192.0.2.1")).starts_with("HTTP/1.1 408 "));
        server.wait_for("nobody", |metrics| metrics.sum("throng_connections") == 0);
    }
    assert_eq!((refused(&server, "timeout"), refused(&server, "address_connections")), (6, 0));
}

/// A header that is right, or nearly.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    let line = "PROXY (TCP4|TCP6|UNKNOWN|TCP) ?[0-9.: ]{0,60}\r?\n?";
    let right = any::<[u8; 4]>().prop_map(|bytes| line_of(IpAddr::from(bytes)));
    let right6 = any::<[u8; 16]>().prop_map(|bytes| line_of(IpAddr::from(bytes)));
    let two = (
        0x1f_u8..0x23,
        prop_oneof![Just(0x11_u8), Just(0x21), Just(0x31), any::<u8>()],
        vec(any::<u8>(), 0..300),
    )
        .prop_map(|(command, family, payload)| binary(command, family, &payload));
    let cut = vec(any::<u8>(), 0..200);
    prop_oneof![
        2 => line.prop_map(String::into_bytes),
        1 => right,
        1 => right6,
        3 => two,
        1 => cut,
    ]
}

fn line_of(address: IpAddr) -> Vec<u8> {
    line(&address.to_string())
}

proptest! {
    #[test]
    fn a_header_is_judged_the_same_whatever_pieces_it_comes_in(
        header in headers(),
        behind in vec(any::<u8>(), 0..200),
    ) {
        let bytes = [header, behind].concat();
        let whole = proxy::parse(&bytes);
        if let Ok(Some((_, taken))) = whole {
            prop_assert!(taken <= bytes.len());
        }
        for cut in 0..bytes.len() {
            match proxy::parse(&bytes[..cut]) {
                Ok(None) => {}
                // Complete or refused early: more bytes must not change the verdict.
                verdict => {
                    prop_assert_eq!(verdict, whole, "cut at {}", cut);
                }
            }
        }
    }
}
