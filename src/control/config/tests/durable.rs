//! Options of the durable rooms, the store and the server API: what each changes, and what each
//! bad value is answered with.

use super::error;
use crate::control::config::{Config, ErrorMode, HttpApi, PersonalChannel, Store};
use crate::hub::{Durability, NamespaceOptions, RecoveryMode};

fn parse(text: &str) -> Config {
    Config::parse(text, "t.toml").unwrap()
}

#[test]
fn rooms_have_a_directory_without_a_word_in_the_file() {
    assert_eq!(parse("").data, std::path::Path::new("./throng-data"));
}

#[test]
fn every_option_of_the_store_is_read() {
    let text = "[store]\ncache_bytes_max = 100001\nqueue_bytes_max = 100002\ncommit_timeout_ms = 3\n\
                disk_free_bytes_min = 4";
    let expected = Store {
        cache_bytes_max: 100_001,
        queue_bytes_max: 100_002,
        commit_timeout_ms: 3,
        disk_free_bytes_min: 4,
    };
    assert_eq!(parse(text).store, expected);
}

#[test]
fn every_option_of_the_server_api_is_read() {
    let expected =
        HttpApi { key: "0123456789abcdef".to_owned(), insecure: true, error_mode: ErrorMode::Transport };
    let text = "[http_api]\nkey = '0123456789abcdef'\ninsecure = true\nerror_mode = 'transport'";
    assert_eq!(parse(text).http_api, expected);
    assert_eq!(parse("[http_api]\nkey = ''\nerror_mode = ''").http_api, HttpApi::default());
}

#[test]
fn limits_of_answers_and_rooms_of_ones_own_are_read() {
    let client = parse(
        "[client]\nhistory_max_publication_limit = 1\nrecovery_max_publication_limit = 2\n\
         [client.subscribe_to_user_personal_channel]\nenabled = true\npersonal_channel_namespace = 'own'\n\
         [[channel.namespaces]]\nname = 'own'",
    )
    .client;
    assert_eq!((client.history_max_publication_limit, client.recovery_max_publication_limit), (1, 2));
    let own = PersonalChannel { enabled: true, personal_channel_namespace: "own".to_owned() };
    assert_eq!(client.subscribe_to_user_personal_channel, own);
}

#[test]
fn every_option_of_a_history_is_read_with_and_without_a_namespace() {
    let options = "history_size = 1000000\nhistory_ttl = '24h'\nhistory_meta_ttl = '36500d'\n\
                   durability = 'os'\nforce_recovery = true\nallow_recovery = true\n\
                   force_positioning = true\nallow_positioning = true\nforce_recovery_mode = 'cache'\n\
                   allow_history_for_client = true\nallow_history_for_subscriber = true\n\
                   allow_history_for_anonymous = true\n";
    let expected = NamespaceOptions {
        history_size: 1_000_000,
        history_ttl_ms: 24 * 3600 * 1000,
        history_meta_ttl_ms: 36_500 * 24 * 3600 * 1000,
        durability: Durability::Os,
        force_recovery: true,
        allow_recovery: true,
        force_positioning: true,
        allow_positioning: true,
        force_recovery_mode: RecoveryMode::Cache,
        allow_history_for_client: true,
        allow_history_for_subscriber: true,
        allow_history_for_anonymous: true,
        ..NamespaceOptions::default()
    };
    let channel = parse(&format!(
        "[channel.without_namespace]\n{options}[[channel.namespaces]]\nname = 'chat'\n{options}"
    ))
    .channel;
    assert_eq!(channel.without_namespace, expected);
    assert_eq!(channel.namespaces[0].options, expected);
}

#[test]
fn every_durability_has_its_word() {
    for (word, durability) in
        [("fsync", Durability::Fsync), ("os", Durability::Os), ("memory", Durability::Memory)]
    {
        let config = parse(&format!("[channel.without_namespace]\ndurability = '{word}'"));
        assert_eq!(config.channel.without_namespace.durability, durability);
    }
}

#[test]
fn bad_values_of_a_history_are_refused_with_key_found_and_needed() {
    let duration = "needed: a duration with its unit, such as \"90s\", \"24h\" or \"7days\"";
    let table = "channel.without_namespace";
    for (option, expected) in [
        ("history_ttl = '24'", format!("`{table}.history_ttl` is the string \"24\"; {duration}")),
        ("history_ttl = '-1s'", format!("`{table}.history_ttl` is the string \"-1s\"; {duration}")),
        (
            "history_ttl = '18446744073709551615s'",
            format!("`{table}.history_ttl` is the string \"18446744073709551615s\"; {duration}"),
        ),
        ("history_ttl = 86400", format!("`{table}.history_ttl` is the integer `86400`; {duration}")),
        ("history_meta_ttl = ''", format!("`{table}.history_meta_ttl` is the string \"\"; {duration}")),
        ("history_meta_ttl = '36501d'", "`history_meta_ttl` is 36501d; needed: 36500d at most".to_owned()),
        ("history_ttl = '36501d'", "`history_ttl` is 36501d; needed: 36500d at most".to_owned()),
        ("history_size = 1000001", "`history_size` is 1000001; needed: 1000000 at most".to_owned()),
        (
            "history_size = -1",
            format!(
                "`{table}.history_size` is the integer `-1`; needed: a whole number from 0 to 4294967295"
            ),
        ),
        (
            "durability = 'disk'",
            format!("`{table}.durability` is the string \"disk\"; needed: \"fsync\", \"os\" or \"memory\""),
        ),
        ("durability = true", format!("`{table}.durability` must be a string")),
        (
            "force_recovery_mode = 'all'",
            format!("`{table}.force_recovery_mode` is the string \"all\"; needed: \"stream\" or \"cache\""),
        ),
    ] {
        assert_eq!(error(&format!("[{table}]\n\n{option}")), format!("t.toml:3: {expected}"));
    }
}

#[test]
fn a_bad_value_in_a_namespace_has_its_own_line() {
    let chat = "[[channel.namespaces]]\nname = 'news'\n[[channel.namespaces]]\nname = 'chat'\n";
    assert_eq!(
        error(&format!("{chat}durability = 'disk'")),
        "t.toml:5: `channel.namespaces.durability` is the string \"disk\"; needed: \"fsync\", \"os\" or \"memory\""
    );
    assert_eq!(
        error(&format!("{chat}history_size = 1000001")),
        "t.toml:5: `history_size` is 1000001; needed: 1000000 at most"
    );
}

#[test]
fn numbering_that_ends_before_the_history_is_refused_at_the_line_that_was_given() {
    for (options, line) in [
        ("history_meta_ttl = '1h'\nhistory_ttl = '90m'", 2),
        ("history_ttl = '90m'\nhistory_meta_ttl = '1h'", 3),
    ] {
        assert_eq!(
            error(&format!("[channel.without_namespace]\n{options}")),
            format!("t.toml:{line}: `history_meta_ttl` is 1h; needed: `history_ttl` at least, which is 90m")
        );
    }
    assert_eq!(
        error("[channel.without_namespace]\nhistory_ttl = '31d'"),
        "t.toml:2: `history_meta_ttl` is 30d; needed: `history_ttl` at least, which is 31d"
    );
    parse("[channel.without_namespace]\nhistory_ttl = '1h'\nhistory_meta_ttl = '1h'");
}

#[test]
fn bounds_of_the_store_that_cannot_be_are_refused() {
    for (option, expected) in [
        (
            "cache_bytes_max = 65535",
            "`store.cache_bytes_max` is 65535; needed: `limits.message_bytes_max` at least, which is 65536",
        ),
        (
            "queue_bytes_max = 0",
            "`store.queue_bytes_max` is 0; needed: `limits.message_bytes_max` at least, which is 65536",
        ),
        ("commit_timeout_ms = 0", "`store.commit_timeout_ms` is 0; needed: 1 at least"),
        ("commit_timeout_ms = 524033", "`store.commit_timeout_ms` is 524033; needed: 524032 at most"),
        (
            "disk_free_bytes_min = '64MiB'",
            "`store.disk_free_bytes_min` is the string \"64MiB\"; needed: a whole number, 0 or more",
        ),
        (
            "disk_free_bytes_min = -1",
            "`store.disk_free_bytes_min` is the integer `-1`; needed: a whole number, 0 or more",
        ),
        ("commit_timeout = 5", "unknown key `commit_timeout` in [store]; did you mean `commit_timeout_ms`?"),
    ] {
        assert_eq!(error(&format!("[store]\n{option}")), format!("t.toml:2: {expected}"));
    }
}

#[test]
fn a_key_of_the_server_api_that_can_be_guessed_or_not_be_sent_is_refused() {
    let such = "such as `openssl rand -hex 32` prints, or \"\" for no key";
    assert_eq!(
        error("[http_api]\nkey = '0123456789abcde'"),
        format!("t.toml:2: `http_api.key` has 15 bytes; needed: 16 at least, {such}")
    );
    for key in ["0123456789 abcdef", "0123456789abcdé"] {
        assert_eq!(
            error(&format!("[http_api]\nkey = '{key}'")),
            format!(
                "t.toml:2: `http_api.key` has a character that an HTTP header may not; needed: ASCII letters, \
                 digits and signs, {such}"
            )
        );
    }
    assert_eq!(error("[http_api]\nkey = 16"), "t.toml:2: `http_api.key` must be a string");
}

#[test]
fn other_bad_values_of_the_server_api_are_refused() {
    assert_eq!(
        error("[http_api]\nerror_mode = 'status'"),
        "t.toml:2: `http_api.error_mode` is the string \"status\"; needed: \"\" or \"transport\""
    );
    assert_eq!(error("http_api = 'k'"), "t.toml:1: `http_api` must be a table");
}

#[test]
fn limits_of_answers_that_cannot_be_are_refused() {
    for key in ["history_max_publication_limit", "recovery_max_publication_limit"] {
        assert_eq!(
            error(&format!("[client]\n{key} = 0")),
            format!("t.toml:2: `client.{key}` is 0; needed: 1 at least")
        );
        assert_eq!(
            error(&format!("[client]\n{key} = 1000001")),
            format!("t.toml:2: `client.{key}` is 1000001; needed: 1000000 at most")
        );
    }
}

#[test]
fn rooms_of_ones_own_need_a_namespace_that_there_is() {
    let table = "client.subscribe_to_user_personal_channel";
    let text =
        format!("[{table}]\npersonal_channel_namespace = 'own'\n[[channel.namespaces]]\nname = 'chat'");
    assert_eq!(
        error(&text),
        format!(
            "t.toml:2: `{table}.personal_channel_namespace` is \"own\"; needed: the name of one of \
             [[channel.namespaces]], or \"\" for none"
        )
    );
}
