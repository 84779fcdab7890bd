//! How many connections a server may hold: what its configuration asks, what its descriptors allow, and what
//! the doctor says of the box.

use std::io;

use super::config::Config;
use crate::doctor::{self, DESCRIPTORS_SPARE, Setup};
use crate::host::descriptors;
use crate::host::tree::Tree;

/// What the doctor has to know of a server that is started with `config`.
pub fn setup(config: &Config) -> Setup {
    Setup {
        target: None,
        shards: config.shards as u64,
        addresses: config.listen.len() as u64,
        private_tables: config.private_fd_tables,
        connections_max: config.limits.connections_max as u64,
        listen_backlog: config.socket.listen_backlog.into(),
        send_buffer_bytes: config.socket.send_buffer_bytes.into(),
        receive_buffer_bytes: config.socket.receive_buffer_bytes.into(),
        with_clients: false,
        reserved: None,
        running: None,
    }
}

/// Descriptors of each table that will not be connections, counted in a shard's own.
pub(super) fn reserved(config: &Config, shards: usize) -> io::Result<u64> {
    let of_shard = config.listen.len() as u64;
    let listeners = if config.private_fd_tables { of_shard } else { of_shard * shards as u64 };
    Ok(descriptors::open_count()? as u64 + DESCRIPTORS_SPARE + listeners)
}

/// How many connections one shard may hold: what its descriptors allow, or less if configured.
pub(super) fn connections_max(config: &Config, descriptors_max: u64, reserved: u64, shards: usize) -> usize {
    let tables = if config.private_fd_tables { shards as u64 } else { 1 };
    let free = descriptors_max.saturating_sub(reserved).saturating_mul(tables);
    let free = usize::try_from(free).unwrap_or(usize::MAX) / shards;
    let configured = match config.limits.connections_max {
        0 => usize::MAX,
        total => total / shards,
    };
    free.min(configured).max(1)
}

/// Logs how many connections this box allows to a server of `shards`, which limit binds and how to raise it.
pub(super) fn tell(config: &Config, shards: usize, reserved: u64) {
    let setup = Setup { shards: shards as u64, reserved: Some(reserved), ..setup(config) };
    let walls = doctor::walls(&Tree::live(), &setup);
    let Some(binding) = walls.binding() else {
        tracing::warn!(
            "how many connections this box allows cannot be told: /proc says nothing of its limits"
        );
        return;
    };
    tracing::info!(
        "this box allows {} connections: {} binds; to raise it: {}",
        binding.connections,
        binding.name,
        binding.remedy
    );
    let others: Vec<_> =
        walls.hard[1..].iter().map(|wall| format!("{} {}", wall.name, wall.connections)).collect();
    tracing::info!("other limits, in connections: {} (`throng doctor` tells more)", others.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_configuration_is_what_the_doctor_takes_for_the_default() {
        assert_eq!(setup(&Config::default()), Setup::default());
    }

    #[test]
    fn every_option_that_the_doctor_judges_reaches_it() {
        let text = "shards = 3\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nprivate_fd_tables = false\n\
                    [limits]\nconnections_max = 9\n\
                    [socket]\nlisten_backlog = 5\nsend_buffer_bytes = 8192\nreceive_buffer_bytes = 16384\n";
        let config = Config::parse(text, "test").unwrap();
        let expected = Setup {
            shards: 3,
            addresses: 2,
            private_tables: false,
            connections_max: 9,
            listen_backlog: 5,
            send_buffer_bytes: 8_192,
            receive_buffer_bytes: 16_384,
            ..Setup::default()
        };
        assert_eq!(setup(&config), expected);
    }
}
