//! `throng bench drain`: what it says of a throng that is told to end, and whether it finds out servers that rush,
//! cut clients off or forget them.

use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};

mod stub;

use stub::{Stub, bench, close, listen, reply, send};

/// Clients of each run against a stub.
const CLIENTS: usize = 6;

/// What the stub does once all clients are there.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It closes all of them at the same moment.
    Rushes,
    /// The same, and one of them without a close frame.
    CutsOneOff,
    /// The same, and one of them not at all.
    ForgetsOne,
}

struct Room {
    fault: Fault,
    clients: Vec<TcpStream>,
}

impl Stub for Room {
    fn command(&mut self, _: u64, out: &mut TcpStream, command: &Value) {
        send(out, &reply(&command["id"], "subscribe", &json!({})));
        self.clients.push(out.try_clone().unwrap());
        if self.clients.len() == CLIENTS {
            for (nth, client) in self.clients.iter_mut().enumerate() {
                match self.fault {
                    Fault::CutsOneOff if nth == 2 => client.shutdown(Shutdown::Both).unwrap(),
                    Fault::ForgetsOne if nth == 2 => {}
                    _ => close(client, 3001),
                }
            }
        }
    }
}

#[test]
fn a_throng_that_is_told_to_end_cuts_nobody_off_and_every_close_is_counted_once() {
    let (code, report, stderr) =
        bench("drain", "drain --connections 200 --over 2 --uneven-max 100 --serve-args --shards=2");
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!((&report["ended"], &report["cut_off"]), (&200.into(), &0.into()));
    assert_eq!(report["codes"], json!({"3001": 200}));
    let spread = &report["spread"];
    let in_time: u64 =
        spread["closes_in_second"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).sum();
    assert_eq!(in_time + spread["late"].as_u64().unwrap(), 200, "{spread}");
    assert!(spread["order_correlation"].as_f64().is_some_and(|order| order.abs() <= 1.0), "{spread}");
    assert_eq!(report["timeline"].as_array().unwrap().last().unwrap()[1], 200);
    // A second signal would have ended it before it had closed everybody.
    assert!(!stderr.contains("second signal"), "{stderr}");
}

#[test]
fn a_server_that_rushes_cuts_off_or_forgets_is_found_out() {
    for (fault, said) in [
        (Fault::Rushes, "one second was 100.0 % off from even"),
        (Fault::CutsOneOff, "1 were cut off without a close frame"),
        (Fault::ForgetsOne, "1 were never closed"),
    ] {
        let target = listen(Room { fault, clients: Vec::new() });
        let arguments = format!("drain --connections {CLIENTS} --over 2 --target ws://{target}/");
        let (code, report, stderr) = bench(&format!("{fault:?}"), &arguments);
        assert_eq!(code, Some(1), "{fault:?}: {stderr}");
        assert!(stderr.contains(said), "{fault:?}: {stderr}");
        assert_eq!(report["connections"], CLIENTS);
    }
}
