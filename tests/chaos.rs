//! A crowd of mad clients: everything that the hostile tests do one by one, at once and in any order.
//!
//! Each client's next step is drawn from a seed, which is printed on failure; set `THRONG_SEED` to it
//! to draw the same steps again. How they interleave inside the server is the machine's.

pub mod common;
pub mod hostile;

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::net::{Shutdown, TcpStream};

use common::{PATIENCE, Server};
use hostile::{CLOSE, Neighbour, PING, Raw, TEXT, UPGRADE, masked, text};

/// Every bound so small that it is reached, every time so short that it passes.
const CONFIG: &str = "drain_ms = 200\n\
    socket.send_buffer_bytes = 4096\n\
    socket.receive_buffer_bytes = 4096\n\
    limits.connections_max = 60\n\
    limits.accept_batch = 3\n\
    limits.message_bytes_max = 2048\n\
    limits.backlog_bytes_max = 8192\n\
    limits.backlog_total_bytes_max = 65536\n\
    limits.inbox_bytes_max = 65536\n\
    limits.upgrade_timeout_ms = 300\n\
    limits.close_timeout_ms = 200\n\
    limits.write_timeout_ms = 300\n\
    client.stale_close_delay_ms = 300\n\
    client.channel_limit = 3\n\
    channel.without_namespace.presence = true\n\
    channel.without_namespace.join_leave = true\n\
    channel.namespaces = [{ name = 'echoless', exclude_sender = true, join_leave = true }]\n";

/// Steps of one run.
const STEPS: u32 = 50_000;

/// A xorshift sequence; the seed is not 0.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % sides
    }

    fn command(&mut self) -> String {
        let id = 1 + self.throw(99);
        let channel = ["a", "b", "c", "d", "echoless:a"][self.throw(5) as usize];
        let fill = "x".repeat([0, 10, 300, 1_500][self.throw(4) as usize]);
        match self.throw(6) {
            0 | 1 => format!(r#"{{"id":{id},"subscribe":{{"channel":"{channel}","join_leave":true}}}}"#),
            2 => format!(r#"{{"id":{id},"unsubscribe":{{"channel":"{channel}"}}}}"#),
            3 => format!(r#"{{"id":{id},"presence":{{"channel":"{channel}"}}}}"#),
            4 => format!(r#"{{"id":{id},"presence_stats":{{"channel":"{channel}"}}}}"#),
            _ => format!(r#"{{"id":{id},"publish":{{"channel":"{channel}","data":"{fill}"}}}}"#),
        }
    }

    /// What a client sends once it is connected: mostly commands, now and then what ends it.
    fn bytes(&mut self) -> Vec<u8> {
        match self.throw(40) {
            0 => masked(CLOSE, &[0x03, 0xe8]),
            1 => masked(CLOSE, b""),
            2 => text("{}"),
            3 => masked(TEXT, b"\xff"),
            4 => masked(0x00, b"x"),
            5 => masked(0x01, b"{"),
            6 => (0..self.throw(20)).map(|_| self.throw(256) as u8).collect(),
            7 | 8 => masked(PING, b"").repeat(1 + self.throw(100) as usize),
            9 => {
                let frame = text(&self.command());
                frame[..self.throw(20) as usize].to_vec()
            }
            _ => {
                let commands: Vec<_> = (0..1 + self.throw(4)).map(|_| self.command()).collect();
                text(&commands.join("\n"))
            }
        }
    }
}

/// A new client that has said something, if there was room for it.
fn newcomer(server: &Server, dice: &mut Dice) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&server.address(), PATIENCE).ok()?;
    stream.set_nonblocking(true).unwrap();
    let first = match dice.throw(10) {
        0 => UPGRADE.as_bytes()[..dice.throw(100) as usize].to_vec(),
        1 => dice.bytes(),
        _ => [UPGRADE.as_bytes(), &text(r#"{"id":1,"connect":{}}"#), &dice.bytes()].concat(),
    };
    say(&stream, &first);
    Some(stream)
}

/// Sends what the socket takes; a mad client does not mind a frame cut short.
fn say(mut stream: &TcpStream, bytes: &[u8]) {
    drop(std::io::Write::write(&mut stream, bytes));
}

#[test]
fn a_crowd_of_mad_clients_leaves_a_server_that_is_whole() {
    let seed = std::env::var("THRONG_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0) | 1);
    // Shown only if the test fails.
    println!("THRONG_SEED={seed}");
    let mut dice = Dice(seed);
    let mut server = Server::with_shards(CONFIG, 1 + dice.throw(3) as usize);
    let mut crowd: Vec<TcpStream> = Vec::new();
    for _ in 0..STEPS {
        let step = dice.throw(100);
        if crowd.is_empty() || (step < 10 && crowd.len() < 80) {
            crowd.extend(newcomer(&server, &mut dice));
            continue;
        }
        let chosen = dice.throw(crowd.len() as u64) as usize;
        let mut stream = &crowd[chosen];
        match step {
            0..75 => say(stream, &dice.bytes()),
            75..95 => drop(stream.read(&mut vec![0; [10, 4_096, 100_000][dice.throw(3) as usize]])),
            95 => drop(stream.shutdown(Shutdown::Write)),
            96 => Raw::over(crowd.swap_remove(chosen)).reset(),
            _ => drop(crowd.swap_remove(chosen)),
        }
    }
    drop(crowd);
    server.wait_for("nobody left and nothing waiting", |metrics| {
        metrics.sum("throng_connections") == 0
            && metrics.sum("throng_backlog_bytes") == 0
            && metrics.by_shard("throng_listening").iter().all(|listening| *listening == 1)
    });
    // Nothing of the crowd is left in its rooms, and newcomers are served.
    Neighbour::of(&server).is_served();
    let mut client = server.client();
    for room in ["a", "b", "c", "d"] {
        let stats = client.succeed("presence_stats", serde_json::json!({ "channel": room }));
        assert_eq!(stats, serde_json::json!({ "num_clients": 0, "num_users": 0 }), "{room}");
    }
    drop(client);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}
