//! Configurations that work but probably not as meant. None of them stops the server.

use super::{Config, Token};
use crate::hub::{Conflate, NamespaceOptions, OverCap, RecoveryMode, Slow};
use crate::shard::settings::Origins;
use crate::wire::origin::origin_allowed;

/// Shortest key that is as strong as the signature. Source: RFC 7518 §3.2, for HS256.
const HMAC_KEY_BYTES_MIN: usize = 32;

impl Config {
    /// What the operator should know before the first client comes: one sentence or two each, for
    /// the log at start and for `throng check-config`.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.warn_of_access(&mut warnings);
        self.warn_of_origins(&mut warnings);
        self.warn_of_demo(&mut warnings);
        if !self.admin.ip().is_loopback() {
            warnings.push(format!(
                "admin listens on {}: whoever reaches it may read the metrics, without a password",
                self.admin
            ));
        }
        self.warn_of_api(&mut warnings);
        self.warn_of_admission(&mut warnings);
        warn_of_key("client.token", self.client.token.as_ref(), &mut warnings);
        warn_of_key("client.subscription_token", self.client.subscription_token.as_ref(), &mut warnings);
        warn_of_options("channel.without_namespace", &self.channel.without_namespace, &mut warnings);
        for namespace in &self.channel.namespaces {
            warn_of_options(&format!("namespace `{}`", namespace.name), &namespace.options, &mut warnings);
        }
        self.warn_of_personal_channel(&mut warnings);
        warnings
    }

    fn warn_of_access(&self, warnings: &mut Vec<String>) {
        if self.is_insecure() {
            if !self.is_loopback() {
                warnings.push(
                    "insecure = true on an address that is not loopback: whoever reaches it may read and \
                     write every room"
                        .to_owned(),
                );
            }
        } else if self.client.token.is_none() && !self.client.allow_anonymous_connect_without_token {
            warnings.push(
                "every client will be refused (3501): there is no key to check tokens with and clients \
                 without a token are not allowed. Set client.token.hmac_secret_key; or, to serve anyone, \
                 client.allow_anonymous_connect_without_token = true or insecure = true"
                    .to_owned(),
            );
        }
    }

    fn warn_of_demo(&self, warnings: &mut Vec<String>) {
        let Origins::Matching(patterns) = self.origins() else { return };
        let page = format!("http://{}", self.admin);
        if self.has_demo() && !origin_allowed(&page, &patterns) {
            warnings.push(format!(
                "demo.enabled = true, but allowed_origins does not have {page}: browsers will not let the demo's \
                 page connect (403), unless the listener is reached by another name that it has"
            ));
        }
    }

    fn warn_of_api(&self, warnings: &mut Vec<String>) {
        if !self.http_api.insecure {
            return;
        }
        let who = if self.admin.ip().is_loopback() {
            "every program on this machine"
        } else {
            "everyone who reaches it"
        };
        warnings.push(format!(
            "http_api.insecure = true: {who} may call the server API on {}, without a key, and so read \
             and write every room",
            self.admin
        ));
        if !self.http_api.key.is_empty() {
            warnings.push("http_api.key does nothing with http_api.insecure = true".to_owned());
        }
    }

    fn warn_of_admission(&self, warnings: &mut Vec<String>) {
        let admission = &self.admission;
        if let Some(all) = admission.proxy_protocol_from.iter().find(|network| network.prefix_len() == 0) {
            warnings.push(format!(
                "admission.proxy_protocol_from trusts every address ({all}): whoever connects may say that it \
                 comes from any address"
            ));
        }
        let per_address = [
            ("connections_per_address_max", admission.connections_per_address_max),
            ("connects_per_second_per_address", admission.connects_per_second_per_address),
        ];
        let limited = per_address.iter().find(|(_, limit)| *limit > 0);
        if let Some((option, _)) = limited
            && self.is_loopback()
            && admission.proxy_protocol_from.is_empty()
        {
            warnings.push(format!(
                "admission.{option} counts all clients of a proxy on this machine as one: every listener is on \
                 loopback. Have the proxy send PROXY headers and list it in admission.proxy_protocol_from"
            ));
        }
    }

    fn warn_of_personal_channel(&self, warnings: &mut Vec<String>) {
        let table = "client.subscribe_to_user_personal_channel";
        let own = &self.client.subscribe_to_user_personal_channel;
        let name = &own.personal_channel_namespace;
        let Some(example) = own.example() else {
            if !name.is_empty() {
                warnings.push(format!("{table}: personal_channel_namespace does nothing without enabled"));
            }
            return;
        };
        let named = self.channel.namespaces.iter().find(|namespace| namespace.name == *name);
        let options = named.map_or(&self.channel.without_namespace, |namespace| &namespace.options);
        if !options.retention().is_on() {
            warnings.push(format!(
                "{table}: what is published to a user's own room ({example}) while the user is away is lost \
                 unless the room's options have history_size and history_ttl"
            ));
        }
    }

    fn warn_of_origins(&self, warnings: &mut Vec<String>) {
        // An empty list that the file itself gives is meant: such a server has no browsers.
        if self.allowed_origins.is_none() && self.origins() == Origins::Matching(Vec::new()) {
            warnings.push(
                "browsers will be refused (403): allowed_origins is not set. List the sites whose pages \
                 may connect, such as [\"https://example.com\"], or [] to keep browsers out"
                    .to_owned(),
            );
        }
    }
}

fn warn_of_key(table: &str, token: Option<&Token>, warnings: &mut Vec<String>) {
    let Some(token) = token else { return };
    let bytes = token.hmac_secret_key.len();
    if bytes < HMAC_KEY_BYTES_MIN {
        warnings.push(format!(
            "{table}.hmac_secret_key is short ({bytes} of {HMAC_KEY_BYTES_MIN} bytes): whoever sees a token \
             may guess it. `openssl rand -hex 32` prints a good one"
        ));
    }
}

/// Names the options that do nothing because the one they refine is off.
fn warn_of_options(place: &str, options: &NamespaceOptions, warnings: &mut Vec<String>) {
    let NamespaceOptions {
        join_leave,
        force_push_join_leave,
        allow_subscribe_for_client,
        allow_subscribe_for_anonymous,
        allow_publish_for_client,
        allow_publish_for_subscriber,
        allow_publish_for_anonymous,
        presence,
        allow_presence_for_client,
        allow_presence_for_subscriber,
        allow_presence_for_anonymous,
        history_size,
        history_ttl_ms,
        history_meta_ttl_ms,
        durability,
        force_recovery,
        allow_recovery,
        force_positioning,
        allow_positioning,
        force_recovery_mode,
        allow_history_for_client,
        allow_history_for_subscriber,
        allow_history_for_anonymous,
        allow_user_limited_channels: _,
        exclude_sender: _,
        channel_regex: _,
        publishes_per_second: _,
        data_bytes_max: _,
        slow,
        join_leave_debounce_ms,
        conflate,
        member_cap,
        over_cap,
        feed_interval_ms,
    } = options.clone();
    let initial = NamespaceOptions::default();
    let [is_sized, is_timed] = [history_size > 0, history_ttl_ms > 0];
    let history = is_sized && is_timed;
    let needs_history = "history_size and history_ttl";
    let publish = allow_publish_for_client || allow_publish_for_subscriber;
    let ask_presence = allow_presence_for_client || allow_presence_for_subscriber;
    // Whether the option is on; what it needs; whether that is there.
    let refinements = [
        ("force_push_join_leave", force_push_join_leave, "join_leave", join_leave),
        (
            "allow_subscribe_for_anonymous",
            allow_subscribe_for_anonymous,
            "allow_subscribe_for_client",
            allow_subscribe_for_client,
        ),
        (
            "allow_publish_for_anonymous",
            allow_publish_for_anonymous,
            "allow_publish_for_client or allow_publish_for_subscriber",
            publish,
        ),
        (
            "allow_presence_for_anonymous",
            allow_presence_for_anonymous,
            "allow_presence_for_client or allow_presence_for_subscriber",
            ask_presence,
        ),
        ("allow_presence_for_client", allow_presence_for_client, "presence", presence),
        ("allow_presence_for_subscriber", allow_presence_for_subscriber, "presence", presence),
        ("history_size", is_sized, "history_ttl", is_timed),
        ("history_ttl", is_timed, "history_size", is_sized),
        ("history_meta_ttl", history_meta_ttl_ms != initial.history_meta_ttl_ms, needs_history, history),
        ("durability", durability != initial.durability, needs_history, history),
        ("force_recovery", force_recovery, needs_history, history),
        ("allow_recovery", allow_recovery, needs_history, history),
        ("force_positioning", force_positioning, needs_history, history),
        ("allow_positioning", allow_positioning, needs_history, history),
        (
            "force_recovery_mode",
            force_recovery_mode != RecoveryMode::default(),
            "force_recovery or allow_recovery",
            force_recovery || allow_recovery,
        ),
        ("join_leave_debounce_ms", join_leave_debounce_ms > 0, "join_leave", join_leave),
        ("over_cap", over_cap != initial.over_cap, "member_cap", member_cap > 0),
        (
            "feed_interval_ms",
            feed_interval_ms != initial.feed_interval_ms,
            "over_cap = \"feed\" or conflate = \"user\"",
            over_cap == OverCap::Feed || conflate == Conflate::User,
        ),
        (
            "slow = \"recover\"",
            slow == Slow::Recover,
            "history_size, history_ttl and one of force_recovery, allow_recovery and allow_history_for_...",
            history
                && (force_recovery
                    || allow_recovery
                    || allow_history_for_client
                    || allow_history_for_subscriber),
        ),
        ("allow_history_for_client", allow_history_for_client, needs_history, history),
        ("allow_history_for_subscriber", allow_history_for_subscriber, needs_history, history),
        (
            "allow_history_for_anonymous",
            allow_history_for_anonymous,
            "allow_history_for_client or allow_history_for_subscriber",
            allow_history_for_client || allow_history_for_subscriber,
        ),
    ];
    for (option, on, needed, is_there) in refinements {
        if on && !is_there {
            warnings.push(format!("{place}: {option} does nothing without {needed}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "[client.token]\nhmac_secret_key = '0123456789abcdef0123456789abcdef'";

    fn warnings(text: &str) -> Vec<String> {
        Config::parse(text, "test.toml").unwrap().warnings()
    }

    fn only(text: &str) -> String {
        let warnings = warnings(text);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        warnings.into_iter().next().unwrap()
    }

    #[test]
    fn the_defaults_and_a_whole_configuration_give_no_warning() {
        assert_eq!(warnings(""), [""; 0]);
        let whole = format!("listen = ['0.0.0.0:80']\nallowed_origins = ['https://example.com']\n{KEY}");
        assert_eq!(warnings(&whole), [""; 0]);
    }

    #[test]
    fn a_server_that_lets_nobody_in_says_so_and_what_changes_it() {
        for text in
            ["listen = ['0.0.0.0:80']\nallowed_origins = []", "insecure = false\nallowed_origins = []"]
        {
            let warning = only(text);
            assert!(warning.contains("3501"), "{warning}");
            assert!(warning.contains("client.token.hmac_secret_key"), "{warning}");
            assert!(warning.contains("insecure = true"), "{warning}");
        }
    }

    #[test]
    fn a_server_that_is_open_to_the_world_says_so() {
        let warning = only("listen = ['0.0.0.0:80']\ninsecure = true\nallowed_origins = ['*']");
        assert!(warning.contains("every room"), "{warning}");
    }

    #[test]
    fn a_server_that_browsers_cannot_use_says_so_unless_the_file_does() {
        assert!(only(KEY).contains("allowed_origins"));
        assert_eq!(warnings(&format!("allowed_origins = []\n{KEY}")), [""; 0]);
    }

    #[test]
    fn a_demo_whose_page_is_refused_is_told() {
        let key = format!("demo.enabled = true\n{KEY}");
        assert!(
            only(&format!("allowed_origins = ['https://example.com']\n{key}"))
                .contains("http://127.0.0.1:8001")
        );
        assert_eq!(warnings(&format!("allowed_origins = ['http://127.0.0.1:8001']\n{key}")), [""; 0]);
    }

    #[test]
    fn an_admin_listener_on_the_network_is_told() {
        assert!(only("admin = '0.0.0.0:8001'").contains("0.0.0.0:8001"));
    }

    #[test]
    fn a_short_key_is_told_by_its_length_alone() {
        let warning = only("allowed_origins = []\n[client.token]\nhmac_secret_key = 'zebra'");
        assert!(warning.contains("5 of 32 bytes") && !warning.contains("zebra"), "{warning}");
    }

    #[test]
    fn an_api_without_a_key_is_told_with_who_may_call_it() {
        let warning = only("[http_api]\ninsecure = true");
        assert!(warning.contains("every program on this machine") && warning.contains("127.0.0.1:8001"));
        let open = warnings("admin = '0.0.0.0:8001'\n[http_api]\ninsecure = true");
        assert!(open.iter().any(|warning| warning.contains("everyone who reaches it")), "{open:?}");
        let idle = warnings("[http_api]\ninsecure = true\nkey = '0123456789abcdef'");
        assert_eq!(idle[1..], ["http_api.key does nothing with http_api.insecure = true"]);
        assert_eq!(warnings("[http_api]\nkey = '0123456789abcdef'"), [""; 0]);
    }

    #[test]
    fn an_option_without_the_one_it_refines_is_told() {
        let chat = "[[channel.namespaces]]\nname = 'chat'\n";
        assert_eq!(
            only(&format!("{chat}force_push_join_leave = true")),
            "namespace `chat`: force_push_join_leave does nothing without join_leave"
        );
        assert_eq!(warnings(&format!("{chat}force_push_join_leave = true\njoin_leave = true")), [""; 0]);
        assert!(
            only("[channel.without_namespace]\nallow_publish_for_anonymous = true").contains("subscriber")
        );
    }

    #[test]
    fn an_option_that_needs_a_history_is_told_unless_there_is_one() {
        let table = "[channel.without_namespace]\n";
        for (option, value) in [
            ("history_meta_ttl", "'40d'"),
            ("durability", "'memory'"),
            ("force_recovery", "true"),
            ("allow_recovery", "true"),
            ("force_positioning", "true"),
            ("allow_positioning", "true"),
            ("allow_history_for_client", "true"),
            ("allow_history_for_subscriber", "true"),
        ] {
            let text = format!("{table}{option} = {value}\n");
            let expected = format!(
                "channel.without_namespace: {option} does nothing without history_size and history_ttl"
            );
            assert_eq!(only(&text), expected);
            assert_eq!(warnings(&format!("{text}history_size = 1\nhistory_ttl = '1s'")), [""; 0]);
        }
    }

    #[test]
    fn half_a_history_is_told_and_so_are_refinements_of_what_is_off() {
        for (text, expected) in [
            ("history_size = 1", "history_size does nothing without history_ttl"),
            ("history_ttl = '1s'", "history_ttl does nothing without history_size"),
            (
                "force_recovery_mode = 'cache'",
                "force_recovery_mode does nothing without force_recovery or allow_recovery",
            ),
            (
                "allow_history_for_anonymous = true",
                "allow_history_for_anonymous does nothing without allow_history_for_client or \
                 allow_history_for_subscriber",
            ),
        ] {
            let warning = only(&format!("[channel.without_namespace]\n{text}"));
            assert_eq!(warning, format!("channel.without_namespace: {expected}"));
        }
    }

    #[test]
    fn limits_of_addresses_that_hit_the_wrong_ones_are_told() {
        let open = "insecure = true\nallowed_origins = []\n";
        for option in ["connections_per_address_max", "connects_per_second_per_address"] {
            let limit = format!("{open}[admission]\n{option} = 5\n");
            let warning = only(&limit);
            assert!(
                warning.starts_with(&format!("admission.{option} counts all clients of a proxy")),
                "{warning}"
            );
            assert_eq!(warnings(&format!("{limit}proxy_protocol_from = ['127.0.0.1']")), [""; 0]);
        }
        let all = only(&format!("{open}[admission]\nproxy_protocol_from = ['10.0.0.0/8', '::/0']"));
        assert!(all.starts_with("admission.proxy_protocol_from trusts every address (::/0): "), "{all}");
    }

    #[test]
    fn rooms_of_ones_own_that_lose_messages_are_told() {
        let table = "[client.subscribe_to_user_personal_channel]\n";
        let own = format!("{table}enabled = true\npersonal_channel_namespace = 'own'\n");
        let namespace = "[[channel.namespaces]]\nname = 'own'\n";
        let kept = "history_size = 9\nhistory_ttl = '1d'\n";
        let key = format!("allowed_origins = []\n{KEY}\n");
        assert_eq!(warnings(&format!("{key}{own}{namespace}{kept}")), [""; 0]);
        assert!(only(&format!("{key}{own}{namespace}")).contains("(own:#42) while the user is away is lost"));
        let open = format!("{key}{own}{namespace}{kept}allow_subscribe_for_client = true\n");
        assert_eq!(warnings(&open), [""; 0], "they are closed to others whatever the namespace allows");
        assert!(only(&format!("{key}{table}enabled = true")).contains("(#42)"));
        let idle = format!("{key}{table}personal_channel_namespace = 'own'\n{namespace}");
        assert!(only(&idle).ends_with("personal_channel_namespace does nothing without enabled"));
    }
}
