//! `throng check-config`: what is wrong with a configuration file, or what it amounts to.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::control::config::{Config, Overrides, duration_text};
use crate::hub::NamespaceOptions;
use crate::shard::settings::Origins;

/// Check a configuration file and say what it amounts to
///
/// Starts nothing. Exits 0 if `throng serve` would accept the file, with warnings about what
/// is probably not meant; else prints the first error with its line and exits 1.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Configuration file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the subcommand.
pub(super) fn run(args: &Args) -> ExitCode {
    match Config::load(&args.file).and_then(|config| config.with(Overrides::default())) {
        Ok(config) => {
            println!("{}: ok", args.file.display());
            print!("{}", Summary(&config));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A configuration in a few lines: warnings first, then who may come in, where and to what.
struct Summary<'a>(&'a Config);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        for warning in config.warnings() {
            writeln!(f, "warning: {warning}")?;
        }
        let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
        writeln!(f, "clients     {} at {}", listen.join(", "), config.path)?;
        writeln!(f, "admin       {}", config.admin)?;
        writeln!(f, "access      {}", config.access())?;
        writeln!(f, "browsers    {}", browsers(&config.origins()))?;
        match config.shards {
            0 => writeln!(f, "shards      as many as there are cores")?,
            shards => writeln!(f, "shards      {shards}")?,
        }
        if let Some(admission) = config.admission.summary() {
            writeln!(f, "admission   {admission}")?;
        }
        writeln!(f, "data        {}", config.data.display())?;
        writeln!(f, "server api  {}", config.http_api.access())?;
        if config.has_demo() {
            writeln!(f, "demo        http://{}/demo", config.admin)?;
        }
        if let Some(example) = config.client.subscribe_to_user_personal_channel.example() {
            writeln!(f, "own rooms   one for each user, such as {example}")?;
        }
        writeln!(f, "rooms       without namespace: {}", options(&config.channel.without_namespace))?;
        for namespace in &config.channel.namespaces {
            writeln!(f, "            {}: {}", namespace.name, options(&namespace.options))?;
        }
        Ok(())
    }
}

/// Pages that may connect.
fn browsers(origins: &Origins) -> String {
    match origins {
        Origins::Loopback => "pages that this machine serves".to_owned(),
        Origins::Matching(patterns) if patterns.is_empty() => "none".to_owned(),
        Origins::Matching(patterns) => format!("pages of {}", patterns.join(", ")),
    }
}

/// The options that differ from their defaults, by their names; with values unless they are `true`.
fn options(options: &NamespaceOptions) -> String {
    let defaults = lines(&NamespaceOptions::default());
    let differing: Vec<String> = lines(options)
        .iter()
        .zip(&defaults)
        .filter(|(shown, default)| shown != default)
        .map(|(shown, _)| shown.clone())
        .collect();
    if differing.is_empty() { "no options".to_owned() } else { differing.join(", ") }
}

/// Every option as the file would say it, in the order of the fields; `true` is left out.
fn lines(options: &NamespaceOptions) -> Vec<String> {
    // The names are the fields' own: a derived Debug writes `field: value`, one per line.
    let shown = format!("{options:#?}");
    let fields = shown.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(": "));
    let said = fields.map(|(field, value)| match (field.strip_suffix("_ms"), value.parse()) {
        (Some(name), Ok(time_ms)) => format!("{name} = {}", duration_text(time_ms)),
        _ if value == "true" => field.to_owned(),
        _ if value.starts_with('"') => format!("{field} = {value}"),
        // A word of the file is the name of a variant in small letters.
        _ => format!("{field} = {}", value.to_lowercase()),
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(text: &str) -> String {
        Summary(&Config::parse(text, "t.toml").unwrap()).to_string()
    }

    #[test]
    fn the_defaults_are_summed_up_without_a_warning() {
        assert_eq!(
            summary(""),
            "clients     127.0.0.1:8000 at /connection/websocket\n\
             admin       127.0.0.1:8001\n\
             access      insecure, anyone may do anything (default: every listener is on loopback, and the \
             configuration says nothing of access)\n\
             browsers    pages that this machine serves\n\
             shards      as many as there are cores\n\
             data        ./throng-data\n\
             server api  nobody (http_api.key is not set)\n\
             demo        http://127.0.0.1:8001/demo\n\
             rooms       without namespace: no options\n"
        );
    }

    #[test]
    fn what_differs_from_the_defaults_is_told() {
        let text = summary(
            "listen = ['127.0.0.1:1', '[::1]:2']\nshards = 3\ndata = 'rooms'\n\
             allowed_origins = ['https://example.com']\n\
             [client.token]\nhmac_secret_key = 'k'\n\
             [[channel.namespaces]]\nname = 'chat'\npresence = true\nchannel_regex = 'A: b'\n\
             history_size = 100\nhistory_ttl = '24h'\nhistory_meta_ttl = '90d'\ndurability = 'os'\n\
             force_recovery = true\nforce_recovery_mode = 'cache'\n\
             [client.subscribe_to_user_personal_channel]\nenabled = true\n\
             personal_channel_namespace = 'chat'\n\
             [http_api]\nkey = '0123456789abcdef'\n\
             [admission]\nconnects_per_second = 500",
        );
        for line in [
            "clients     127.0.0.1:1, [::1]:2 at /connection/websocket\n",
            "access      tokens\n",
            "browsers    pages of https://example.com\n",
            "shards      3\n",
            "admission   500 connects a second\n",
            "data        rooms\n",
            "server api  whoever has the key\n",
            "own rooms   one for each user, such as chat:#42\n",
            "rooms       without namespace: no options\n",
            "            chat: presence, channel_regex = \"A: b\", history_size = 100, history_ttl = 1d, \
             history_meta_ttl = 90d, durability = os, force_recovery, force_recovery_mode = cache\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(text.starts_with("warning: client.token.hmac_secret_key is short (1 of 32 bytes)"), "{text}");
    }
}
