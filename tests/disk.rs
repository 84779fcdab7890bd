//! Disks that hang, are full, or cannot be written: who is told what, and that rooms without history
//! go on. Each test mounts a small file system of its own, for which it must be root; where the
//! kernel refuses that, it says so and checks nothing.

pub mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Client, Scratch, Server};
use serde_json::{Value, json};

const KEPT: &str = "insecure = true\n[store]\ncommit_timeout_ms = 300\nqueue_bytes_max = 100000\n\
                    disk_free_bytes_min = 10000000\n[limits]\nmessage_bytes_max = 65536\n\
                    [channel.without_namespace]\nhistory_size = 100\nhistory_ttl = '1h'\nforce_recovery = true\n\
                    [[channel.namespaces]]\nname = 'live'\n";

/// A file system of this test's own, unmounted at the end.
struct Mounted {
    at: PathBuf,
    is_frozen: bool,
    _scratch: Scratch,
}

impl Mounted {
    /// Mounts what `mount` with `arguments` mounts; none if that is not allowed here.
    fn new(scratch: Scratch, arguments: &[&str]) -> Option<Mounted> {
        let at = scratch.path().join("mount");
        std::fs::create_dir(&at).unwrap();
        let is_mounted = run("mount", &[arguments, &[at.to_str().unwrap()]].concat());
        if !is_mounted {
            eprintln!("not checked: mount is refused here (needed: root, and loop devices)");
            return None;
        }
        Some(Mounted { at, is_frozen: false, _scratch: scratch })
    }

    /// One in memory, of 64 MiB.
    fn in_memory() -> Option<Mounted> {
        Mounted::new(Scratch::new(), &["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
    }

    /// An ext4 in a file, which can be frozen: writers then hang.
    fn in_file() -> Option<Mounted> {
        let scratch = Scratch::new();
        let file = scratch.path().join("image");
        File::create(&file).unwrap().set_len(200 << 20).unwrap();
        let file = file.to_str().unwrap().to_owned();
        assert!(run("mkfs.ext4", &["-q", &file]), "mkfs.ext4 of e2fsprogs makes a file system");
        Mounted::new(scratch, &["-o", "loop", &file])
    }

    fn serve(&self) -> Server {
        Server::with_arguments(KEPT, &["--shards", "2", "--data", self.at.join("data").to_str().unwrap()])
    }

    fn freeze(&mut self) {
        assert!(run("fsfreeze", &["--freeze", self.at.to_str().unwrap()]));
        self.is_frozen = true;
    }

    fn thaw(&mut self) {
        assert!(run("fsfreeze", &["--unfreeze", self.at.to_str().unwrap()]));
        self.is_frozen = false;
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_frozen {
            self.thaw();
        }
        // Lazily: a server that is being killed may hold it for a moment.
        run("umount", &["--lazy", self.at.to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    // Where system programs are on Debian, for whoever runs this without them in PATH.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Sends a command without waiting for its answer.
fn say(client: &mut Client, id: u32, method: &str, request: Value) {
    client.send(json!({ "id": id, method: request }).to_string());
}

/// The next reply to a command, whatever pushes come before it.
fn reply(client: &mut Client) -> Value {
    std::iter::repeat_with(|| client.receive()).find(|message| message.get("id").is_some()).unwrap()
}

fn publish_live(client: &mut Client) {
    client.publish("live:a", json!("live"));
    assert_eq!(client.next_data("live:a"), json!("live"));
}

#[test]
fn a_disk_that_hangs_refuses_publishers_and_keeps_nobody_else_waiting() {
    let Some(mut disk) = Mounted::in_file() else { return };
    let server = disk.serve();
    let mut client = server.client();
    client.subscribe("live:a");
    client.publish("room", json!("before"));
    disk.freeze();

    say(&mut client, 100, "publish", json!({ "channel": "room", "data": "in doubt" }));
    say(&mut client, 101, "subscribe", json!({ "channel": "another" }));
    publish_live(&mut client);
    for id in [100, 101] {
        let refused = reply(&mut client);
        assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(id), &json!(100)), "{refused}");
        assert_eq!(refused["error"]["temporary"], json!(true));
    }

    // What waits is bounded: above it publishers are refused at once.
    let data = "x".repeat(10_000);
    let mut codes = Vec::new();
    for id in 200..230 {
        say(&mut client, id, "publish", json!({ "channel": "room", "data": data }));
    }
    for _ in 200..230 {
        codes.push(reply(&mut client)["error"]["code"].as_u64().unwrap());
    }
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes, [100, 111]);
    publish_live(&mut client);

    disk.thaw();
    server.wait_for("nothing waiting", |metrics| metrics.get("throng_committer_waiting_bytes") == 0);
    client.publish("room", json!("after"));
    let kept = client.succeed("history", json!({ "channel": "room", "limit": -1 }));
    let kept: Vec<_> = kept["publications"].as_array().unwrap().iter().map(|kept| &kept["data"]).collect();
    assert_eq!(
        kept,
        [&json!("before"), &json!("in doubt"), &json!("after")],
        "and none of those that waited"
    );
}

#[test]
fn a_full_disk_refuses_publishers_until_there_is_space_again() {
    let Some(disk) = Mounted::in_memory() else { return };
    let server = disk.serve();
    let mut client = server.client();
    client.subscribe("live:a");
    client.publish("room", json!("before"));

    let filler = disk.at.join("filler");
    let mut full = 60 << 20;
    while full > 0 && std::fs::write(&filler, vec![0; full]).is_err() {
        full -= 4 << 20;
    }
    say(&mut client, 50, "publish", json!({ "channel": "room", "data": 1 }));
    assert_eq!(reply(&mut client)["error"]["code"], json!(100));
    publish_live(&mut client);
    let kept = client.succeed("history", json!({ "channel": "room", "limit": 1 }));
    assert_eq!(kept["publications"][0]["data"], json!("before"), "what is kept can be read");
    assert!(server.log().contains("disk_free_bytes_min"), "{}", server.log());

    std::fs::remove_file(&filler).unwrap();
    client.publish("room", json!("after"));
    let position = client.succeed("history", json!({ "channel": "room" }));
    assert_eq!(position["offset"], json!(2), "what was refused left no hole");
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_that_says_what_to_do() {
    let Some(disk) = Mounted::in_memory() else { return };
    assert!(run("mount", &["-o", "remount,ro", disk.at.to_str().unwrap()]));
    let data = disk.at.join("data");
    let output = serve_and_fail(&data);
    assert!(output.contains("Read-only file system"), "{output}");
    assert!(output.contains("--data"), "{output}");
}

/// Starts a server with its data in `data`, which must not become ready; what it says.
fn serve_and_fail(data: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_throng"))
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}
