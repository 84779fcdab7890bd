//! What a configuration amounts to: the settings of shards and rooms, and who may come in.
//!
//! Rules for who may come in, where the file does not say:
//! - **insecure**: only where every listener is on loopback and the file says nothing of access:
//!   no token keys, no anonymous clients and no balancers. A deployment with tokens behind a proxy on the same
//!   machine listens on loopback as well, and must not be open to whom the proxy lets through.
//! - **origins**: pages of this machine where that rule made the server insecure, else none.
//! - **demo**: there where that rule made the server insecure, else not.

use super::Config;
use crate::rooms;
use crate::shard::settings::{self as shard, Origins};

impl Config {
    /// Whether everybody may do everything, said by the file or by the rule above.
    pub fn is_insecure(&self) -> bool {
        self.insecure.unwrap_or_else(|| self.is_development())
    }

    /// Whether the rule above made the server insecure, not the file.
    pub(super) fn is_insecure_by_itself(&self) -> bool {
        self.insecure.is_none() && self.is_development()
    }

    fn is_development(&self) -> bool {
        self.is_loopback()
            && self.client.token.is_none()
            && self.client.subscription_token.is_none()
            && !self.client.allow_anonymous_connect_without_token
            && self.admission.proxy_protocol_from.is_empty()
    }

    /// Whether every listener of clients is on loopback.
    pub(super) fn is_loopback(&self) -> bool {
        self.listen.iter().all(|address| address.ip().is_loopback())
    }

    /// Whether there is a demo, said by the file or by the rule above: nobody is to find one on a server
    /// that serves others.
    pub fn has_demo(&self) -> bool {
        self.demo.enabled.unwrap_or_else(|| self.is_insecure_by_itself())
    }

    /// Which origins may upgrade.
    pub fn origins(&self) -> Origins {
        match &self.allowed_origins {
            Some(patterns) => Origins::Matching(patterns.clone()),
            None if self.is_insecure_by_itself() => Origins::Loopback,
            None => Origins::Matching(Vec::new()),
        }
    }

    /// What the rooms are told.
    pub fn rooms_settings(&self) -> rooms::Settings {
        let client = &self.client;
        rooms::Settings {
            insecure: self.is_insecure(),
            allow_anonymous_connect_without_token: client.allow_anonymous_connect_without_token,
            ping_interval_ms: client.ping_interval_ms,
            pong_timeout_ms: client.pong_timeout_ms,
            stale_close_delay_ms: client.stale_close_delay_ms,
            expired_close_delay_ms: client.expired_close_delay_ms,
            expired_sub_close_delay_ms: client.expired_sub_close_delay_ms,
            channel_limit: client.channel_limit,
            channel_max_length: self.channel.max_length,
            user_connection_limit: client.user_connection_limit,
            publishes_per_second: client.publishes_per_second,
            subscribes_per_second: client.subscribes_per_second,
            slow_recoveries_max: client.slow_recoveries_max,
            answer_bytes_max: self.limits.backlog_bytes_max / 2,
            history_max_publication_limit: client.history_max_publication_limit,
            recovery_max_publication_limit: client.recovery_max_publication_limit,
            personal_channel: client.subscribe_to_user_personal_channel.namespace(),
            token: client.token.as_ref().map(|token| token.keys()),
            subscription_token: client.subscription_token.as_ref().map(|token| token.keys()),
            without_namespace: self.channel.without_namespace.clone(),
            namespaces: self
                .channel
                .namespaces
                .iter()
                .map(|namespace| (namespace.name.clone(), namespace.options.clone()))
                .collect(),
        }
    }

    /// What each of `shards` shards is told. `connections_max_per_shard` comes from the caller,
    /// who knows what the box allows; bounds of the whole server are divided evenly.
    ///
    /// # Panics
    ///
    /// `shards` is 0: the caller has resolved it to a number of threads.
    pub fn shard_settings(&self, shards: usize, connections_max_per_shard: usize) -> shard::Settings {
        assert!(shards > 0, "a server has at least one shard");
        let limits = &self.limits;
        let admission = &self.admission;
        // Rounded up: a limit of 1 on two shards is not none.
        let shared_out = |per_second: u32| per_second.div_ceil(u32::try_from(shards).unwrap_or(u32::MAX));
        shard::Settings {
            socket: self.socket.clone(),
            path: self.path.clone(),
            subprotocols: rooms::SUBPROTOCOLS,
            origins: self.origins(),
            connections_max: connections_max_per_shard,
            accept_batch: limits.accept_batch,
            message_bytes_max: limits.message_bytes_max,
            backlog_bytes_max: limits.backlog_bytes_max,
            backlog_total_bytes_max: limits.backlog_total_bytes_max / shards,
            upgrade_timeout_ms: limits.upgrade_timeout_ms,
            close_timeout_ms: limits.close_timeout_ms,
            write_timeout_ms: limits.write_timeout_ms,
            inbox_bytes_max: limits.inbox_bytes_max,
            admission: shard::Admission {
                accepts_per_second: shared_out(admission.accepts_per_second),
                connects_per_second: shared_out(admission.connects_per_second),
                connections_per_address_max: admission.connections_per_address_max,
                connects_per_second_per_address: admission.connects_per_second_per_address,
                proxy_protocol_from: admission.proxy_protocol_from.clone(),
            },
        }
    }

    /// Who may come in and why, in one line for the log and for `throng check-config`.
    pub fn access(&self) -> &'static str {
        if self.is_insecure_by_itself() {
            "insecure, anyone may do anything (default: every listener is on loopback, and the \
             configuration says nothing of access)"
        } else if self.is_insecure() {
            "insecure, anyone may do anything (insecure = true)"
        } else {
            match (self.client.token.is_some(), self.client.allow_anonymous_connect_without_token) {
                (true, true) => "tokens, and anonymous clients with the rights of their rooms",
                (true, false) => "tokens",
                (false, true) => "anonymous clients with the rights of their rooms",
                (false, false) => "nobody",
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Config {
        Config::parse(text, "test.toml").unwrap()
    }

    #[test]
    fn without_a_word_on_access_a_server_on_loopback_is_open_to_this_machine() {
        for text in
            ["", "listen = ['127.0.0.2:80', '[::1]:80']", "[channel.without_namespace]\npresence = true"]
        {
            let config = parse(text);
            assert!(config.is_insecure(), "{text}");
            assert_eq!(config.origins(), Origins::Loopback, "{text}");
        }
    }

    #[test]
    fn a_word_on_access_or_an_outside_listener_closes_the_server() {
        let key = "hmac_secret_key = 'k'";
        for text in [
            "insecure = false",
            "listen = ['127.0.0.1:80', '0.0.0.0:81']",
            &format!("[client.token]\n{key}"),
            &format!("[client.subscription_token]\n{key}"),
            "client.allow_anonymous_connect_without_token = true",
            "admission.proxy_protocol_from = ['127.0.0.1']",
        ] {
            let config = parse(text);
            assert!(!config.rooms_settings().insecure, "{text}");
            assert_eq!(config.origins(), Origins::Matching(Vec::new()), "{text}");
        }
    }

    #[test]
    fn a_demo_is_there_for_this_machine_alone_unless_the_file_says_otherwise() {
        let key = "[client.token]\nhmac_secret_key = 'k'";
        for (text, is_there) in [
            ("", true),
            ("demo.enabled = false", false),
            ("insecure = true", false),
            ("listen = ['0.0.0.0:80']", false),
            (key, false),
            (&format!("demo.enabled = true\n{key}"), true),
        ] {
            assert_eq!(parse(text).has_demo(), is_there, "{text}");
        }
    }

    #[test]
    fn insecure_is_what_the_file_says_wherever_the_server_listens() {
        let config = parse("insecure = true\nlisten = ['0.0.0.0:80']\n[client.token]\nhmac_secret_key = 'k'");
        assert!(config.rooms_settings().insecure);
        assert_eq!(config.origins(), Origins::Matching(Vec::new()));
    }

    #[test]
    fn origins_of_the_file_stand_even_if_there_are_none() {
        assert_eq!(parse("allowed_origins = []").origins(), Origins::Matching(Vec::new()));
        let config = parse("allowed_origins = ['https://*.example.com']");
        assert_eq!(config.origins(), Origins::Matching(vec!["https://*.example.com".to_owned()]));
    }

    #[test]
    fn defaults_give_the_defaults_of_rooms_and_shards() {
        let config = Config::default();
        let rooms = rooms::Settings { insecure: true, ..rooms::Settings::default() };
        assert_eq!(format!("{:?}", config.rooms_settings()), format!("{rooms:?}"));
        let shard = shard::Settings {
            path: "/connection/websocket".to_owned(),
            subprotocols: &["centrifuge-json"],
            origins: Origins::Loopback,
            connections_max: 7,
            ..shard::Settings::default()
        };
        assert_eq!(config.shard_settings(4, 7), shard);
    }

    #[test]
    fn every_value_reaches_the_rooms() {
        let config = parse(
            "[client]\nping_interval_ms = 11\npong_timeout_ms = 2\nstale_close_delay_ms = 3\n\
             expired_close_delay_ms = 4\nexpired_sub_close_delay_ms = 5\nchannel_limit = 6\n\
             user_connection_limit = 7\npublishes_per_second = 11\nsubscribes_per_second = 12\nslow_recoveries_max = 13\n\
             allow_anonymous_connect_without_token = true\n\
             history_max_publication_limit = 9\nrecovery_max_publication_limit = 10\n\
             [client.subscribe_to_user_personal_channel]\nenabled = true\npersonal_channel_namespace = 'chat'\n\
             [client.token]\nhmac_secret_key = 'a'\nhmac_previous_secret_key = 'b'\naudience = 'c'\nissuer = 'd'\n\
             [client.subscription_token]\nhmac_secret_key = 'e'\n[channel]\nmax_length = 8\n\
             [channel.without_namespace]\npresence = true\n\
             [[channel.namespaces]]\nname = 'chat'\nexclude_sender = true",
        );
        let rooms = config.rooms_settings();
        let numbers = [
            rooms.ping_interval_ms,
            rooms.pong_timeout_ms,
            rooms.stale_close_delay_ms,
            rooms.expired_close_delay_ms,
            rooms.expired_sub_close_delay_ms,
            rooms.channel_limit as u32,
            rooms.user_connection_limit,
            rooms.channel_max_length as u32,
            rooms.history_max_publication_limit as u32,
            rooms.recovery_max_publication_limit as u32,
            rooms.publishes_per_second,
            rooms.subscribes_per_second,
            rooms.slow_recoveries_max,
        ];
        assert_eq!(numbers, [11, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        assert_eq!(rooms.personal_channel.as_deref(), Some("chat"));
        assert!(rooms.allow_anonymous_connect_without_token && rooms.without_namespace.presence);
        let token = rooms.token.unwrap();
        assert_eq!(token.hmac_secret_key, "a");
        assert_eq!(token.hmac_previous_secret_key.as_deref(), Some("b"));
        assert_eq!((token.audience.as_deref(), token.issuer.as_deref()), (Some("c"), Some("d")));
        assert_eq!(rooms.subscription_token.unwrap().hmac_secret_key, "e");
        assert_eq!(rooms.namespaces.len(), 1);
        assert!(rooms.namespaces[0].0 == "chat" && rooms.namespaces[0].1.exclude_sender);
    }

    #[test]
    fn every_value_reaches_the_shards_and_the_whole_backlog_is_shared_out() {
        let config = parse(
            "path = '/ws'\n[socket]\nsend_buffer_bytes = 1\nreceive_buffer_bytes = 2\nlisten_backlog = 3\n\
             defer_accept_s = 4\nuser_timeout_ms = 5\nkeepalive_s = 6\nnotsent_lowat_bytes = 7\n\
             [limits]\naccept_batch = 8\nmessage_bytes_max = 9\nbacklog_bytes_max = 10\n\
             backlog_total_bytes_max = 44\ninbox_bytes_max = 12\nupgrade_timeout_ms = 13\n\
             close_timeout_ms = 14\nwrite_timeout_ms = 15\n\
             [admission]\naccepts_per_second = 16\nconnects_per_second = 17\nconnections_per_address_max = 18\n\
             connects_per_second_per_address = 19\nproxy_protocol_from = ['192.0.2.0/24']",
        );
        let expected = shard::Settings {
            socket: shard::SocketOptions {
                send_buffer_bytes: 1,
                receive_buffer_bytes: 2,
                listen_backlog: 3,
                defer_accept_s: 4,
                user_timeout_ms: 5,
                keepalive_s: 6,
                notsent_lowat_bytes: 7,
            },
            path: "/ws".to_owned(),
            subprotocols: &["centrifuge-json"],
            origins: Origins::Matching(Vec::new()),
            connections_max: 99,
            accept_batch: 8,
            message_bytes_max: 9,
            backlog_bytes_max: 10,
            backlog_total_bytes_max: 11,
            upgrade_timeout_ms: 13,
            close_timeout_ms: 14,
            write_timeout_ms: 15,
            inbox_bytes_max: 12,
            admission: shard::Admission {
                accepts_per_second: 4,
                connects_per_second: 5,
                connections_per_address_max: 18,
                connects_per_second_per_address: 19,
                proxy_protocol_from: vec!["192.0.2.0/24".parse().unwrap()],
            },
        };
        assert_eq!(config.shard_settings(4, 99), expected);
    }

    #[test]
    fn access_is_told_in_words() {
        assert!(Config::default().access().starts_with("insecure"));
        assert_eq!(parse("insecure = false").access(), "nobody");
        assert_eq!(parse("[client.token]\nhmac_secret_key = 'k'").access(), "tokens");
    }
}
