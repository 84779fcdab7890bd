//! What the command line says over the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::ConfigError;
use super::{Config, validate};

/// What errors of [`Config::on_sockets`] begin with.
const SOCKETS: &str = "sockets that were handed over";

/// Values given on the command line; what was not given leaves the file's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Replaces `listen` as a whole, unless it is empty.
    pub listen: Vec<SocketAddr>,
    /// Replaces `admin`.
    pub admin: Option<SocketAddr>,
    /// Replaces `data`.
    pub data: Option<PathBuf>,
    /// Replaces `shards`.
    pub shards: Option<usize>,
    /// Turns `pin_shards` on.
    pub pin_shards: bool,
    /// Turns `private_fd_tables` off.
    pub shared_fd_table: bool,
    /// Turns `reuse_port` on.
    pub reuse_port: bool,
}

impl Config {
    /// This configuration with `overrides` over it.
    ///
    /// # Errors
    ///
    /// A value of the command line, or the number of shards that this machine's cores make,
    /// contradicts another one. No line is named: the file alone was valid.
    pub fn with(mut self, overrides: Overrides) -> Result<Config, ConfigError> {
        if !overrides.listen.is_empty() {
            self.listen = overrides.listen;
        }
        if let Some(admin) = overrides.admin {
            self.admin = admin;
        }
        if let Some(data) = overrides.data {
            self.data = data;
        }
        if let Some(shards) = overrides.shards {
            self.shards = shards;
        }
        self.pin_shards |= overrides.pin_shards;
        self.private_fd_tables &= !overrides.shared_fd_table;
        self.reuse_port |= overrides.reuse_port;
        validate::overridden(&self, validate::cores())?;
        Ok(self)
    }

    /// This configuration with `addresses` in place of `listen`: sockets on them were handed over, and
    /// of each as many as `sockets`, one for each shard.
    ///
    /// # Errors
    ///
    /// `shards` is another number, or the admin listener has one of the addresses. No line is named:
    /// the file alone was valid.
    pub fn on_sockets(mut self, addresses: &[SocketAddr], sockets: usize) -> Result<Config, ConfigError> {
        if self.shards != 0 && self.shards != sockets {
            let message = format!(
                "`shards` is {}, but for each address were handed over: {sockets}; needed: `shards` not set, or as \
                 many ListenStream= lines for each address in the socket unit as `shards` says",
                self.shards
            );
            return Err(ConfigError::new(SOCKETS, None, message));
        }
        self.listen = addresses.to_vec();
        self.shards = sockets;
        validate::handed_over(&self, SOCKETS)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_the_command_line_leaves_out_stays_as_in_the_file() {
        let file =
            Config::parse("shards = 3\npin_shards = true\nreuse_port = true\nprivate_fd_tables = false", "f")
                .unwrap();
        assert_eq!(file.clone().with(Overrides::default()).unwrap(), file);
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = Config::parse("listen = ['127.0.0.1:1', '127.0.0.1:2']\nshards = 3", "f").unwrap();
        let config = file
            .with(Overrides {
                listen: vec![address("127.0.0.1:9000")],
                admin: Some(address("127.0.0.1:9001")),
                data: Some("rooms".into()),
                shards: Some(8),
                pin_shards: true,
                shared_fd_table: true,
                reuse_port: true,
            })
            .unwrap();
        assert_eq!(config.listen, [address("127.0.0.1:9000")]);
        assert_eq!(config.admin, address("127.0.0.1:9001"));
        assert_eq!(config.data, std::path::Path::new("rooms"));
        assert_eq!(config.shards, 8);
        assert!(config.pin_shards && !config.private_fd_tables && config.reuse_port);
    }

    #[test]
    fn an_address_of_the_command_line_that_the_file_gives_to_another_listener_is_refused() {
        let file = Config::parse("admin = '127.0.0.1:9000'", "f").unwrap();
        let overrides = Overrides { listen: vec![address("0.0.0.0:9000")], ..Default::default() };
        let error = file.with(overrides).unwrap_err();
        assert_eq!(
            error.to_string(),
            "command line: `admin` is 127.0.0.1:9000, which `listen` covers with 0.0.0.0:9000; \
             give each its own port"
        );
    }

    #[test]
    fn sockets_that_were_handed_over_replace_the_addresses_and_say_how_many_shards() {
        let addresses = [address("192.0.2.1:80"), address("[::1]:80")];
        let config = Config::default().on_sockets(&addresses, 3).unwrap();
        assert_eq!((config.listen.as_slice(), config.shards), (addresses.as_slice(), 3));
        assert!(Config::default().is_insecure() && !config.is_insecure(), "they decide who is trusted");
        let three = Config { shards: 3, ..Config::default() };
        assert!(three.clone().on_sockets(&addresses, 3).is_ok());
        assert_eq!(
            three.on_sockets(&addresses, 2).unwrap_err().to_string(),
            "sockets that were handed over: `shards` is 3, but for each address were handed over: 2; needed: \
             `shards` not set, or as many ListenStream= lines for each address in the socket unit as `shards` says"
        );
        let error = Config::default().on_sockets(&[address("0.0.0.0:8001")], 1).unwrap_err().to_string();
        assert!(error.starts_with("sockets that were handed over: `admin` is 127.0.0.1:8001, "), "{error}");
    }

    #[test]
    fn one_shard_for_each_core_needs_room_for_one_backlog_each() {
        let text = "[limits]\nbacklog_total_bytes_max = 3145728";
        let config = Config::parse(text, "f").unwrap();
        assert_eq!(validate::overridden(&config, 3), Ok(()));
        let error = validate::overridden(&config, 4).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`shards` is 0, one for each core: `limits.backlog_total_bytes_max` is 3145728; needed: 4194304 at \
             least, which is `limits.backlog_bytes_max` (1048576) for each of 4 shards"
        );
        let shards = |shards| Overrides { shards: Some(shards), ..Default::default() };
        assert!(config.clone().with(shards(3)).is_ok());
        assert!(config.with(shards(4)).unwrap_err().to_string().starts_with("command line: "));
    }
}
