//! `throng bench bounce`: what it says of a throng with and without a debounce, and whether it finds out servers that
//! tell too much, too little or what is not so.

use std::collections::{HashMap, HashSet};
use std::net::TcpStream;

use serde_json::{Value, json};

mod stub;

use stub::{Stub, bench, close, listen, reply, send};

/// What the stub does wrong, once a few have left.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Nothing,
    /// A member leaves and nobody is told.
    HidesALeave,
    /// A join is told twice.
    TellsAJoinTwice,
    /// One more is counted than there is.
    CountsOneMore,
    /// A leave is refused.
    RefusesALeave,
    /// A leave is not answered.
    LeavesALeaveUnanswered,
    /// A member is closed.
    ClosesAMember,
}

struct Room {
    fault: Fault,
    members: HashSet<u64>,
    told: HashMap<u64, TcpStream>,
    leaves: u64,
    joins: u64,
}

impl Room {
    fn new(fault: Fault) -> Self {
        Self { fault, members: HashSet::new(), told: HashMap::new(), leaves: 0, joins: 0 }
    }

    fn tell(&mut self, what: &str, client: u64) {
        let push = format!(
            r#"{{"push":{{"channel":"bench-0","{what}":{{"info":{{"user":"","client":"{client}"}}}}}}}}"#
        );
        self.told.values_mut().for_each(|member| send(member, &push));
    }
}

impl Stub for Room {
    fn command(&mut self, connection: u64, out: &mut TcpStream, command: &Value) {
        let id = &command["id"];
        if command["presence_stats"].is_object() {
            let more = u64::from(self.fault == Fault::CountsOneMore);
            let count = json!({"num_clients": self.members.len() as u64 + more, "num_users": 1});
            return send(out, &reply(id, "presence_stats", &count));
        }
        if command["unsubscribe"].is_object() {
            self.leaves += 1;
            let is_third = self.leaves == 3;
            match self.fault {
                Fault::RefusesALeave if is_third => {
                    send(out, &reply(id, "error", &json!({"code": 100, "message": "internal"})));
                }
                Fault::LeavesALeaveUnanswered if is_third => {}
                Fault::ClosesAMember if is_third => close(out, 3500),
                _ => send(out, &reply(id, "unsubscribe", &json!({}))),
            }
            self.members.remove(&connection);
            self.told.remove(&connection);
            if self.fault != Fault::HidesALeave || !is_third {
                self.tell("leave", connection);
            }
            return;
        }
        self.joins += 1;
        self.members.insert(connection);
        if command["subscribe"]["join_leave"] == true {
            self.told.insert(connection, out.try_clone().unwrap());
        }
        send(out, &reply(id, "subscribe", &json!({})));
        self.tell("join", connection);
        if self.fault == Fault::TellsAJoinTwice && self.joins == 5 {
            self.tell("join", connection);
        }
    }
}

/// Runs it on a room of 8 that bounce within 0.2 s.
fn bounce(name: &str, more: &str) -> (Option<i32>, Value, String) {
    bench(name, &format!("bounce --members 8 --gap 0.2 --seconds 0.6 --gone 25 {more}"))
}

#[test]
fn with_a_debounce_nobody_is_told_of_those_who_come_back_and_everybody_of_those_who_do_not() {
    let (code, report, stderr) = bounce("debounced", "--debounce-ms 600 --serve-args --shards=2");
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        (&report["pushes"], &report["frames"], &report["contradictions"]),
        (&0.into(), &0.into(), &0.into())
    );
    assert!(report["joins"].as_u64() >= Some(8), "{report}");
    let settled = &report["settled"];
    // The witness and three quarters of the members.
    assert_eq!((&settled["due"], &settled["counted"], &settled["told"]), (&7.into(), &7.into(), &7.into()));
}

#[test]
fn without_one_everybody_is_told_of_everything_which_is_too_much() {
    let (code, report, stderr) = bounce("told", "--debounce-ms 0");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("joins and leaves per second, more than 2.00"), "{stderr}");
    // Each leave is told to the others that are there, each join also to who joins.
    let told = report["pushes"].as_u64().unwrap();
    assert!(told > report["leaves"].as_u64().unwrap() + report["joins"].as_u64().unwrap(), "{report}");
    assert_eq!(report["settled"]["told"], 7);
}

#[test]
fn what_is_told_wrongly_is_found_out() {
    for (fault, said) in [
        (Fault::HidesALeave, "the witness was told what cannot be"),
        (Fault::TellsAJoinTwice, "1 times the witness was told what cannot be"),
        (Fault::CountsOneMore, "the server counts 8 members of 7: never right"),
        (Fault::RefusesALeave, "1 leaves and joins were refused"),
        (Fault::LeavesALeaveUnanswered, "1 leaves and joins were not answered"),
        (Fault::ClosesAMember, "1 members were ended by the server"),
    ] {
        let target = listen(Room::new(fault));
        let more = format!("--pushes-max 10000 --settle-max 0.5 --target ws://{target}/");
        let (code, _, stderr) = bounce(&format!("{fault:?}"), &more);
        assert_eq!(code, Some(1), "{fault:?}: {stderr}");
        assert!(stderr.contains(said), "{fault:?}: {stderr}");
    }
    let target = listen(Room::new(Fault::Nothing));
    let (code, report, stderr) = bounce("right", &format!("--pushes-max 10000 --target ws://{target}/"));
    assert_eq!((code, &report["contradictions"]), (Some(0), &0.into()), "{stderr}");
}

#[test]
fn a_room_that_tells_nobody_cannot_be_measured() {
    let server =
        format!("bounce --members 3 --serve-args --config={}/throng.toml", env!("CARGO_TARGET_TMPDIR"));
    let (code, _, stderr) = bench("configured", &server);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("needs one of the run's own"), "{stderr}");
    let (code, _, stderr) = bench("raw", "bounce --members 3 --dialect raw");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("join_told"), "{stderr}");
}
