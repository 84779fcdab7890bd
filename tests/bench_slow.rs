//! `throng bench slow --recover`: that those who wake are whole on a throng, and whether a server that loses, repeats
//! or swaps anything for one that slept is found out.

use std::net::TcpStream;

use serde_json::{Value, json};

mod stub;

use stub::{Stub, bench, close, listen, reply, send};

/// The publication at which the stub does something to its first member: one of the time in which nobody reads,
/// which begins after two seconds with 30 in each.
const AFTER: usize = 75;

/// What that is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It ends its subscription, and gives back everything.
    Unsubscribes,
    /// It closes it, and gives back everything.
    Closes,
    /// It ends its subscription, and one publication is missing from what it gives back.
    GivesBackLess,
    /// It leaves one publication out.
    LosesOne,
    /// It sends one twice.
    RepeatsOne,
    /// It sends another in the place of one.
    SwapsOne,
    /// It sends nothing more.
    ForgetsIt,
}

struct Room {
    fault: Fault,
    items: Vec<Value>,
    members: Vec<Option<TcpStream>>,
}

impl Room {
    fn publish(&mut self, data: &Value) {
        self.items.push(json!({"data": data, "offset": self.items.len() + 1}));
        let (count, publication) = (self.items.len(), self.items.last().unwrap().clone());
        for (nth, slot) in self.members.iter_mut().enumerate() {
            let Some(member) = slot else { continue };
            let push =
                |publication: &Value| format!(r#"{{"push":{{"channel":"bench-0","pub":{publication}}}}}"#);
            let is_now = nth == 0 && count == AFTER;
            match self.fault {
                Fault::LosesOne if is_now => {}
                Fault::ForgetsIt if nth == 0 && count >= AFTER => {}
                Fault::SwapsOne if is_now => {
                    let other = json!({"data": self.items[3]["data"], "offset": AFTER});
                    send(member, &push(&other));
                }
                Fault::Closes if is_now => {
                    close(member, 3008);
                    *slot = None;
                }
                Fault::Unsubscribes | Fault::GivesBackLess if is_now => {
                    let code = r#"{"code":2500,"reason":"insufficient state"}"#;
                    send(member, &format!(r#"{{"push":{{"channel":"bench-0","unsubscribe":{code}}}}}"#));
                    *slot = None;
                }
                _ => {
                    send(member, &push(&publication));
                    if self.fault == Fault::RepeatsOne && is_now {
                        send(member, &push(&publication));
                    }
                }
            }
        }
    }

    fn subscribe(&self, request: &Value) -> Value {
        let top = self.items.len();
        if request["recover"] != true {
            return json!({"recoverable": true, "epoch": "abc", "offset": top});
        }
        let mut missed = self.items[request["offset"].as_u64().unwrap_or(0) as usize..].to_vec();
        if self.fault == Fault::GivesBackLess {
            missed.remove(0);
        }
        json!({"recoverable": true, "epoch": "abc", "offset": top, "recovered": true, "was_recovering": true,
               "publications": missed})
    }
}

impl Stub for Room {
    fn command(&mut self, _: u64, out: &mut TcpStream, command: &Value) {
        let id = &command["id"];
        if command["subscribe"].is_object() {
            send(out, &reply(id, "subscribe", &self.subscribe(&command["subscribe"])));
            self.members.push(Some(out.try_clone().unwrap()));
        } else {
            self.publish(&command["publish"]["data"]);
            send(out, &reply(id, "publish", &json!({})));
        }
    }
}

/// Runs it against a stub with `fault`, of whose 3 members all stop reading: its code, its report, its stderr.
fn slow(fault: Fault) -> (Option<i32>, Value, String) {
    let target = listen(Room { fault, items: Vec::new(), members: Vec::new() });
    let load = "slow --recover --members 3 --stalled 100 --rate 30 --seconds 1 --wake-seconds 0.5";
    bench(&format!("{fault:?}"), &format!("{load} --target ws://{target}/"))
}

#[test]
fn who_was_closed_or_unsubscribed_and_gets_everything_back_is_whole() {
    for (fault, rejoined, reconnected) in [(Fault::Unsubscribes, 1, 0), (Fault::Closes, 0, 1)] {
        let (code, report, stderr) = slow(fault);
        assert_eq!(code, Some(0), "{fault:?}: {stderr}");
        let recovered = &report["recovered"];
        assert_eq!((&recovered["whole"], &recovered["answers"]), (&3.into(), &1.into()), "{recovered}");
        assert_eq!(
            (&recovered["rejoined"], &recovered["reconnected"]),
            (&rejoined.into(), &reconnected.into())
        );
        assert!(recovered["publications"].as_u64() > Some(0), "{recovered}");
    }
}

#[test]
fn a_message_that_is_lost_repeated_or_swapped_for_a_sleeper_is_found_out() {
    for (fault, said) in [
        (Fault::GivesBackLess, "1 × recovered with a hole"),
        (Fault::LosesOne, "1 × a gap before a live message"),
        (Fault::RepeatsOne, "1 × a live message came again"),
        (Fault::SwapsOne, "1 × a live message was another than was published"),
        (Fault::ForgetsIt, "1 are not whole\n  1 × there, and without the last"),
    ] {
        let (code, _, stderr) = slow(fault);
        assert_eq!(code, Some(1), "{fault:?}: {stderr}");
        assert!(stderr.contains(said), "{fault:?}: {stderr}");
    }
}

#[test]
fn those_who_wake_on_a_throng_are_whole_whether_it_held_for_them_or_closed_them() {
    for (name, more) in [
        (
            "held",
            "--seconds 2 --rate 100 --payload-bytes 4000 --patient --backlog-bytes 65536 \
             --backlog-total-bytes 262144",
        ),
        ("closed", "--seconds 3 --rate 60 --payload-bytes 2000 --serve-args --shards=2"),
    ] {
        let load = "slow --recover=memory --members 40 --stalled 10 --wake-seconds 0.5";
        let (code, report, stderr) = bench(name, &format!("{load} {more}"));
        assert_eq!(code, Some(0), "{name}: {stderr}");
        let stalled = report["stalled"].as_u64().unwrap();
        assert!((3..=5).contains(&stalled), "{stalled} of 40");
        assert_eq!((&report["recovered"]["whole"], &report["lost"]), (&stalled.into(), &0.into()));
        let readers = 40 - stalled;
        for window in ["before", "during", "after"] {
            let timed = report[window]["delay"]["count"].as_u64().unwrap();
            assert_eq!(timed, report[window]["publishes"].as_u64().unwrap() * readers, "{name}: {window}");
        }
        let peak = report["backlog_peak_bytes"].as_u64().unwrap();
        assert!(peak <= report["backlog_budget_bytes"].as_u64().unwrap(), "{report}");
        assert!(report["p99_ratio"].is_number() && report["p99_ratio_after"].is_number());
    }
}

#[test]
fn more_publications_than_any_history_keeps_are_refused_before_anything_starts() {
    let (code, _, stderr) = bench("endless", "slow --recover --rate 100000 --seconds 1000");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("nobody could recover"), "{stderr}");
}
