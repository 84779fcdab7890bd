//! What the comments in `systemd/` say of throng is so: its limits, its times, its defaults.

use std::fs;
use std::path::Path;

use throng::control::config::Config;
use throng::limits::{
    KERNEL_BYTES_PER_CONNECTION, RUNTIME_THREADS_MAX, SHARDS_MAX, USER_BYTES_PER_CONNECTION,
};
use throng::plan::text::grouped;

fn unit(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)).unwrap()
}

/// Every value of `key`, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(name, _)| *name == key).map(|(_, value)| value).collect()
}

fn number(unit: &str, key: &str) -> u64 {
    let [value] = values(unit, key)[..] else { panic!("{key} is not there once") };
    value.parse().unwrap()
}

#[test]
fn what_a_connection_costs_is_what_limits_say() {
    let (kernel, user) = (KERNEL_BYTES_PER_CONNECTION, USER_BYTES_PER_CONNECTION);
    let service = unit("throng.service");
    for said in [
        format!("{} bytes\n# of the kernel's", grouped(u128::from(kernel))),
        format!("and {user} of the server's"),
        format!(
            "1,000,000 × {} B = {}.{} GB",
            grouped(u128::from(kernel + user)),
            (kernel + user) / 1000,
            ((kernel + user) % 1000 + 50) / 100
        ),
    ] {
        assert!(service.contains(&said), "throng.service does not say {said:?}");
    }
}

#[test]
fn the_unit_stops_no_default_drain_and_takes_every_thread() {
    let (service, config) = (unit("throng.service"), Config::default());
    let drain_ms = u64::from(config.drain_grace_ms) + u64::from(config.drain_ms);
    let end_ms = drain_ms + u64::from(config.limits.close_timeout_ms);
    assert!(number(&service, "TimeoutStopSec") * 1000 > end_ms);
    assert!(number(&service, "TasksMax") > (SHARDS_MAX + RUNTIME_THREADS_MAX) as u64);
    assert!(service.contains(&format!("# Threads: {} shards at most", grouped(SHARDS_MAX as u128))));
}

#[test]
fn the_socket_unit_is_the_default_address_with_one_socket_for_each_of_several_shards() {
    let (socket, config) = (unit("throng.socket"), Config::default());
    let [address] = config.listen[..] else { panic!("one address is the default") };
    let streams = values(&socket, "ListenStream");
    assert!(streams.len() > 1 && streams.iter().all(|stream| *stream == address.to_string()), "{streams:?}");
    assert_eq!(values(&socket, "ReusePort"), ["true"]);
    assert_eq!(values(&socket, "FreeBind"), ["true"], "sockets.target comes before the network");
    assert_eq!(number(&socket, "Backlog"), u64::from(config.socket.listen_backlog));
}
