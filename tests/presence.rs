//! Who is in a room, and how many: presence and presence_stats.

pub mod common;

use common::Server;
use serde_json::json;

#[test]
fn smoke() {
    let server = Server::start("");
    let mut ann = server.client();
    ann.subscribe("room");
    ann.publish("room", json!("hi"));
    assert_eq!(ann.next_data("room"), "hi");
    ann.send("nonsense");
    ann.expect_close(3501, "bad request");
}
