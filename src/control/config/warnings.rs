//! Configurations that work but probably not as meant. None of them stops the server.

use super::{Config, Token};
use crate::hub::NamespaceOptions;
use crate::shard::settings::Origins;

/// Shortest key that is as strong as the signature. Source: RFC 7518 §3.2, for HS256.
const HMAC_KEY_BYTES_MIN: usize = 32;

impl Config {
    /// What the operator should know before the first client comes: one sentence or two each, for
    /// the log at start and for `throng check-config`.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.warn_of_access(&mut warnings);
        self.warn_of_origins(&mut warnings);
        if !self.admin.ip().is_loopback() {
            warnings.push(format!(
                "admin listens on {}: whoever reaches it may read the metrics, without a password",
                self.admin
            ));
        }
        warn_of_key("client.token", self.client.token.as_ref(), &mut warnings);
        warn_of_key("client.subscription_token", self.client.subscription_token.as_ref(), &mut warnings);
        warn_of_options("channel.without_namespace", &self.channel.without_namespace, &mut warnings);
        for namespace in &self.channel.namespaces {
            warn_of_options(&format!("namespace `{}`", namespace.name), &namespace.options, &mut warnings);
        }
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
        ..
    } = *options;
    let publish = allow_publish_for_client || allow_publish_for_subscriber;
    let ask_presence = allow_presence_for_client || allow_presence_for_subscriber;
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
    fn an_admin_listener_on_the_network_is_told() {
        assert!(only("admin = '0.0.0.0:8001'").contains("0.0.0.0:8001"));
    }

    #[test]
    fn a_short_key_is_told_by_its_length_alone() {
        let warning = only("allowed_origins = []\n[client.token]\nhmac_secret_key = 'zebra'");
        assert!(warning.contains("5 of 32 bytes") && !warning.contains("zebra"), "{warning}");
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
}
