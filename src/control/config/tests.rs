//! What the file may say and what each mistake in it is answered with.

mod durable;

use super::*;

fn error(text: &str) -> String {
    Config::parse(text, "t.toml").unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_the_default_configuration() {
    assert_eq!(Config::parse("", "t.toml").unwrap(), Config::default());
}

#[test]
fn every_table_is_read() {
    let config = Config::parse(
        "listen = ['[::1]:9000']\nadmin = '127.0.0.1:9001'\npath = '/ws'\ndata = 'd'\nshards = 2\n\
         pin_shards = true\nprivate_fd_tables = false\ninsecure = true\ndrain_ms = 0\n\
         [socket]\nkeepalive_s = 60\n[limits]\nconnections_max = 5\n[client]\nchannel_limit = 3\n\
         [client.token]\nhmac_secret_key = 'k'\n[channel]\nmax_length = 9\n\
         [[channel.namespaces]]\nname = 'chat'\npresence = true\n[[channel.namespaces]]\nname = 'news'",
        "t.toml",
    )
    .unwrap();
    assert_eq!(config.listen, ["[::1]:9000".parse().unwrap()]);
    assert_eq!(config.data, Path::new("d"));
    assert_eq!((config.shards, config.pin_shards, config.private_fd_tables), (2, true, false));
    assert_eq!((config.insecure, config.drain_ms, config.path.as_str()), (Some(true), 0, "/ws"));
    assert_eq!((config.socket.keepalive_s, config.socket.listen_backlog), (60, 4096));
    assert_eq!((config.limits.connections_max, config.client.channel_limit), (5, 3));
    assert_eq!(config.client.token.unwrap().hmac_secret_key, "k");
    let names: Vec<_> =
        config.channel.namespaces.iter().map(|n| (n.name.as_str(), n.options.presence)).collect();
    assert_eq!((config.channel.max_length, names), (9, vec![("chat", true), ("news", false)]));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nonexistent/throng.toml")).unwrap_err();
    assert_eq!(error.line(), None);
    assert!(
        error.to_string().starts_with("/nonexistent/throng.toml: cannot be read: No such file"),
        "{error}"
    );
}

#[test]
fn a_misspelt_key_is_answered_with_its_line_and_the_key_that_was_meant() {
    for (text, expected) in [
        ("shards = 1\n\ndrian_ms = 5", "t.toml:3: unknown key `drian_ms`; did you mean `drain_ms`?"),
        ("[clients]\n", "t.toml:1: unknown key `clients`; did you mean `client`?"),
        (
            "[client]\nping_interval = 5",
            "t.toml:2: unknown key `ping_interval` in [client]; did you mean `ping_interval_ms`?",
        ),
        (
            "[client.token]\nhmac_secret_key = 'k'\nissuers = 'me'",
            "t.toml:3: unknown key `issuers` in [client.token]; did you mean `issuer`?",
        ),
        (
            "[[channel.namespaces]]\nname = 'chat'\npresense = true",
            "t.toml:3: unknown key `presense` in [channel.namespaces]; did you mean `presence`?",
        ),
        (
            "[[channel.namespaces]]\nnames = 'chat'",
            "t.toml:2: unknown key `names` in [channel.namespaces]; did you mean `name`?",
        ),
        (
            "socket.keepalive = 5",
            "t.toml:1: unknown key `keepalive` in [socket]; did you mean `keepalive_s`?",
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn an_unknown_key_that_resembles_none_is_answered_with_all_that_are_known() {
    assert_eq!(
        error("[client.token]\nhmac_secret_key = 'k'\nrsa = 1"),
        "t.toml:3: unknown key `rsa` in [client.token]; known keys here: hmac_secret_key, \
         hmac_previous_secret_key, audience, issuer"
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_answered_with_what_was_found_and_what_is_needed() {
    for (text, expected) in [
        (
            "\ndrain_ms = '10s'",
            "t.toml:2: `drain_ms` is the string \"10s\"; needed: a whole number from 0 to 4294967295",
        ),
        (
            "[limits]\nwrite_timeout_ms = -1",
            "t.toml:2: `limits.write_timeout_ms` is the integer `-1`; needed: a whole number from 0 to 4294967295",
        ),
        ("shards = -1", "t.toml:1: `shards` is the integer `-1`; needed: a whole number, 0 or more"),
        ("insecure = 'yes'", "t.toml:1: `insecure` is the string \"yes\"; needed: true or false"),
        (
            "listen = '127.0.0.1:80'",
            "t.toml:1: `listen` is the string \"127.0.0.1:80\"; needed: an array, as in [\"one\", \"two\"]",
        ),
        ("client = 5", "t.toml:1: `client` is the integer `5`; needed: a table"),
        (
            "socket = { keepalive_s = true }",
            "t.toml:1: `socket.keepalive_s` is the boolean `true`; needed: a whole number from 0 to 4294967295",
        ),
        (
            "[[channel.namespaces]]\nname = 'chat'\n[[channel.namespaces]]\nname = 'news'\npresence = 1",
            "t.toml:5: `channel.namespaces.presence` is the integer `1`; needed: true or false",
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn an_address_without_a_port_or_with_a_host_name_is_answered_with_what_one_looks_like() {
    let needed = "an IP address with a port, such as \"127.0.0.1:8000\" or \"[::1]:8000\"";
    assert_eq!(
        error("listen = [\n  '127.0.0.1:80',\n  'localhost:81',\n]"),
        format!("t.toml:3: `listen`: \"localhost:81\" is not {needed}")
    );
    assert_eq!(error("admin = '127.0.0.1'"), format!("t.toml:1: `admin`: \"127.0.0.1\" is not {needed}"));
}

#[test]
fn text_that_is_not_toml_is_answered_with_its_line() {
    let error = error("shards = 1\nlisten = [");
    assert!(error.starts_with("t.toml:2: not TOML: "), "{error}");
}

#[test]
fn a_key_given_twice_is_answered_with_its_second_line() {
    let error = error("shards = 1\nshards = 2");
    assert_eq!(error, "t.toml:2: not TOML: duplicate key");
}

#[test]
fn a_token_table_without_a_key_is_refused() {
    assert_eq!(
        error("[client]\n[client.token]\naudience = 'x'"),
        "t.toml:2: `hmac_secret_key` is missing in [client.token]"
    );
}

#[test]
fn a_secret_is_in_no_error() {
    for text in [
        "[client.token]\nhmac_secret_key = 31337",
        "[client.token]\nhmac_secret_key = 'k'\nhmac_previous_secret_key = 31337",
        "[client.token]\nhmac_secret_key = 31337\nissuer = 5",
        "[client.token]\nhmac_secret_key = '31337",
        "[client.token]\nhmac_secret_key = '31337'\nhmac_secret_key = '31337'",
        "[client]\ntoken = '31337'",
        "[client]\nsubscription_token = 31337",
        "[http_api]\nkey = '31337'",
        "[http_api]\nkey = 31337",
        "[http_api]\nkey = ['31337']",
        "[http_api]\nkey = '31337-31337-31337-31337 '",
        "[http_api]\nkeys = '31337-31337-31337-31337'",
        "http_api = '31337'",
    ] {
        let error = error(text);
        assert!(!error.contains("31337"), "{error}");
    }
    assert_eq!(
        error("[client.token]\nhmac_secret_key = 31337"),
        "t.toml:2: `client.token.hmac_secret_key` must be a string"
    );
}

#[test]
fn values_that_cannot_be_are_refused() {
    for (text, expected) in [
        ("\nlisten = []", "t.toml:2: `listen` is empty; needed: at least one address"),
        (
            "listen = [\n'127.0.0.1:80',\n'127.0.0.1:80']",
            "t.toml:3: `listen` has 127.0.0.1:80, which its 127.0.0.1:80 covers already; remove one of them",
        ),
        (
            "admin = '127.0.0.1:8000'",
            "t.toml:1: `admin` is 127.0.0.1:8000, which `listen` covers with 127.0.0.1:8000; give each its own port",
        ),
        ("shards = 1025", "t.toml:1: `shards` is 1025; needed: 1024 at most"),
        (
            "path = 'ws'",
            "t.toml:1: `path` is \"ws\"; needed: a path that starts with / and has no ?, # or space",
        ),
        ("data = ''", "t.toml:1: `data` is empty; needed: a directory, or no such key"),
        (
            "allowed_origins = ['https://example.com/']",
            "t.toml:1: `allowed_origins` has \"https://example.com/\"; needed: scheme and host without a path, \
             such as \"https://example.com\", or \"*\"",
        ),
        ("[limits]\naccept_batch = 0", "t.toml:2: `limits.accept_batch` is 0; needed: 1 at least"),
        (
            "[limits]\nupgrade_timeout_ms = 0",
            "t.toml:2: `limits.upgrade_timeout_ms` is 0; needed: 1 at least",
        ),
        ("[limits]\nclose_timeout_ms = 0", "t.toml:2: `limits.close_timeout_ms` is 0; needed: 1 at least"),
        ("[limits]\nwrite_timeout_ms = 0", "t.toml:2: `limits.write_timeout_ms` is 0; needed: 1 at least"),
        ("[limits]\nmessage_bytes_max = 0", "t.toml:2: `limits.message_bytes_max` is 0; needed: 1 at least"),
        ("[socket]\nlisten_backlog = 0", "t.toml:2: `socket.listen_backlog` is 0; needed: 1 at least"),
        (
            "[client]\nsubscribes_per_second = 1000001",
            "t.toml:2: `client.subscribes_per_second` is 1000001; needed: 1000000 at most",
        ),
        (
            "[channel.without_namespace]\npublishes_per_second = 1000001",
            "t.toml:2: `channel.without_namespace.publishes_per_second` is 1000001; needed: 1000000 at most",
        ),
        (
            "[channel.without_namespace]\nhistory_size = 1\nhistory_ttl = '1s'\nconflate = 'user'",
            "t.toml:4: `channel.without_namespace.conflate` is \"user\" in rooms with a history; needed: no \
             history_size and history_ttl, because what is replaced is not kept",
        ),
        (
            "[admission]\naccepts_per_second = 1000001",
            "t.toml:2: `admission.accepts_per_second` is 1000001; needed: 1000000 at most",
        ),
        (
            "[admission]\nconnects_per_second = 1000001",
            "t.toml:2: `admission.connects_per_second` is 1000001; needed: 1000000 at most",
        ),
        (
            "[admission]\nconnects_per_second_per_address = 1000001",
            "t.toml:2: `admission.connects_per_second_per_address` is 1000001; needed: 1000000 at most",
        ),
        (
            "[admission]\nmemory_max_percent = 100",
            "t.toml:2: `admission.memory_max_percent` is 100; needed: 99 at most",
        ),
        ("[client]\nchannel_limit = 0", "t.toml:2: `client.channel_limit` is 0; needed: 1 at least"),
        (
            "[client]\nstale_close_delay_ms = 0",
            "t.toml:2: `client.stale_close_delay_ms` is 0; needed: 1 at least",
        ),
        (
            "[client]\nping_interval_ms = 600000",
            "t.toml:2: `client.ping_interval_ms` is 600000; needed: 524032 at most",
        ),
        (
            "[limits]\nclose_timeout_ms = 524033",
            "t.toml:2: `limits.close_timeout_ms` is 524033; needed: 524032 at most",
        ),
        ("[client]\npong_timeout_ms = 0", "t.toml:2: `client.pong_timeout_ms` is 0; needed: 1 at least"),
        ("[channel]\nmax_length = 0", "t.toml:2: `channel.max_length` is 0; needed: 1 at least"),
        (
            "[client.token]\nhmac_secret_key = ''",
            "t.toml:2: `client.token.hmac_secret_key` is empty; needed: a secret, such as `openssl rand -hex 32` \
             prints",
        ),
        (
            "[client.subscription_token]\nhmac_secret_key = 'k'\nhmac_previous_secret_key = ''",
            "t.toml:3: `client.subscription_token.hmac_previous_secret_key` is empty; needed: a secret, such as \
             `openssl rand -hex 32` prints, or no such key",
        ),
        (
            "[[channel.namespaces]]\nname = 'x'",
            "t.toml:2: a namespace is called \"x\"; needed: two or more of the ASCII letters and digits, - and _",
        ),
        (
            "[[channel.namespaces]]\nname = 'chat'\n[[channel.namespaces]]\nname = 'chat'",
            "t.toml:4: a second namespace is called `chat`; needed: a name of its own",
        ),
        (
            "[channel.without_namespace]\nchannel_regex = '(a'",
            "t.toml:2: `channel_regex` is \"(a\"; needed: a regular expression (unclosed group)",
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn bounds_that_contradict_each_other_are_refused_at_the_line_of_the_one_that_was_given() {
    for (text, expected) in [
        (
            "[client]\nping_interval_ms = 8000",
            "t.toml:2: `client.ping_interval_ms` is 8000; needed: more than `client.pong_timeout_ms`, which is \
             8000, or 0 to turn pings off",
        ),
        (
            "[client]\n\npong_timeout_ms = 25000",
            "t.toml:3: `client.ping_interval_ms` is 25000; needed: more than `client.pong_timeout_ms`, which is \
             25000, or 0 to turn pings off",
        ),
        (
            "[limits]\nmessage_bytes_max = 1048577",
            "t.toml:2: `limits.backlog_bytes_max` is 1048576; needed: `limits.message_bytes_max` at least, which \
             is 1048577",
        ),
        (
            "[limits]\ninbox_bytes_max = 65535",
            "t.toml:2: `limits.inbox_bytes_max` is 65535; needed: `limits.message_bytes_max` at least, which is \
             65536",
        ),
        (
            "[limits]\nbacklog_bytes_max = 1073741825",
            "t.toml:2: `limits.backlog_total_bytes_max` is 1073741824; needed: 1073741825 at least, which is \
             `limits.backlog_bytes_max` (1073741825) for each of 1 shard",
        ),
        (
            "shards = 4\n[limits]\nbacklog_total_bytes_max = 2097152",
            "t.toml:3: `limits.backlog_total_bytes_max` is 2097152; needed: 4194304 at least, which is \
             `limits.backlog_bytes_max` (1048576) for each of 4 shards",
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn without_pings_the_pong_timeout_bounds_nothing() {
    for text in ["client.ping_interval_ms = 0", "client = { ping_interval_ms = 0, pong_timeout_ms = 0 }"] {
        Config::parse(text, "t.toml").unwrap();
    }
}

#[test]
fn a_port_of_zero_may_be_given_as_often_as_one_likes() {
    let text = "listen = ['127.0.0.1:0', '127.0.0.1:0']\nadmin = '127.0.0.1:0'";
    assert_eq!(Config::parse(text, "t.toml").unwrap().listen.len(), 2);
}

#[test]
fn both_families_may_share_a_port() {
    Config::parse("listen = ['127.0.0.1:80', '[::1]:80', '[::1]:81']", "t.toml").unwrap();
}
