//! The admin listener of a running server, as a command talks to it: where it is, with which key, and what is
//! wrong if nobody answers.

use std::env;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::control::config::Config;

/// The variable that has the key.
const KEY_VARIABLE: &str = "THRONG_API_KEY";

/// How long an answer may take. The admin listener answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which server is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The server's admin listener, as http://ADDR or ADDR [default: http://127.0.0.1:8001]
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// The server's configuration file, which has the address of the admin listener and the key
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The key of the server API, unless the file has it; needed from other machines and, to steer,
    /// wherever the server has one. The environment variable THRONG_API_KEY keeps it out of the list of
    /// processes
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    key: Option<String>,
}

/// Longest body that is read whole.
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// An admin listener.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    /// Without a path and the slash before it.
    url: String,
    key: String,
    agent: ureq::Agent,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody answers; why, and what helps.
    Silent(String),
    /// The answer is no, or none that is understood.
    Refused(String),
}

impl Trouble {
    /// What to tell the user.
    pub(super) fn text(self) -> String {
        match self {
            Trouble::Silent(text) | Trouble::Refused(text) => text,
        }
    }
}

/// An answer of the server API.
#[derive(Deserialize)]
struct Answer<T> {
    result: T,
}

/// The same, where it says no.
#[derive(Deserialize)]
struct Failure {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    message: String,
}

impl Which {
    /// The listener that is meant.
    ///
    /// # Errors
    ///
    /// The configuration cannot be read, or the address is none.
    pub(super) fn find(&self) -> Result<Admin, String> {
        let config = match &self.config {
            Some(file) => Config::load(file).map_err(|error| error.to_string())?,
            None => Config::default(),
        };
        let url = match &self.admin {
            Some(text) => url(text)?,
            None => format!("http://{}", reachable(config.admin)),
        };
        let key = self.key.clone().or_else(|| env::var(KEY_VARIABLE).ok()).unwrap_or(config.http_api.key);
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        Ok(Admin { url, key, agent })
    }
}

impl Admin {
    /// Where it is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The result of `GET path`.
    ///
    /// # Errors
    ///
    /// See `Trouble`.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        let request = self.agent.get(format!("{}{path}", self.url));
        self.result(request.header("X-API-Key", &self.key).call())
    }

    /// The result of `POST path` with `body`, which is JSON.
    ///
    /// # Errors
    ///
    /// See `Trouble`.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T, Trouble> {
        let request = self.agent.post(format!("{}{path}", self.url));
        self.result(request.header("X-API-Key", &self.key).content_type("application/json").send(body))
    }

    /// The body of `GET path`, which is none of the API's answers and may go on as long as the server does.
    ///
    /// # Errors
    ///
    /// See `Trouble`.
    pub(super) fn open(&self, path: &str) -> Result<impl Read + use<>, Trouble> {
        let request = self.agent.get(format!("{}{path}", self.url)).header("X-API-Key", &self.key);
        let request = request.config().timeout_global(None).timeout_connect(Some(PATIENCE));
        let request = request.timeout_recv_response(Some(PATIENCE)).build();
        let mut response = request.call().map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response.into_body().into_reader());
        }
        let body = response.body_mut().read_to_string().map_err(|error| self.unreachable(&error))?;
        Err(self.refusal(response.status(), body))
    }

    /// The same, read to its end.
    ///
    /// # Errors
    ///
    /// See `Trouble`.
    pub(super) fn text(&self, path: &str) -> Result<String, Trouble> {
        let mut text = String::new();
        let read = self.open(path)?.take(BODY_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| self.unreachable(&error.into()))?;
        Ok(text)
    }

    fn result<T: DeserializeOwned>(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, Trouble> {
        let mut response = response.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = response.body_mut().read_to_string().map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            let answer = serde_json::from_str::<Answer<T>>(&body);
            return answer.map(|answer| answer.result).map_err(|error| {
                Trouble::Refused(format!("{} answers, but not as this throng does: {error}", self.url))
            });
        }
        Err(self.refusal(status, body))
    }

    fn refusal(&self, status: ureq::http::StatusCode, body: String) -> Trouble {
        let said = serde_json::from_str::<Failure>(&body).map_or(body, |failure| failure.error.message);
        let hint = match status.as_u16() {
            401 | 403 => format!(" (--key KEY, {KEY_VARIABLE}, or --config with the server's file)"),
            404 => "; needed: the admin listener of a throng of this version".to_owned(),
            _ => String::new(),
        };
        Trouble::Refused(format!("{} says {status}: {}{hint}", self.url, said.trim_end()))
    }

    fn unreachable(&self, error: &ureq::Error) -> Trouble {
        Trouble::Silent(match error {
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => format!(
                "nothing listens on {}; needed: the admin listener of a running server, which its first line \
                 names (--admin URL, or --config FILE with the server's file)",
                self.url
            ),
            error => format!("{} does not answer: {error}; its log says why, if it runs", self.url),
        })
    }
}

/// `text` as the start of every URL.
fn url(text: &str) -> Result<String, String> {
    let (scheme, place) = text.split_once("://").unwrap_or(("http", text));
    let place = place.trim_end_matches('/');
    let is_place = !place.is_empty() && !place.contains(['/', '?', '#', '@']);
    if scheme != "http" || !is_place {
        return Err(format!(
            "--admin is {text:?}; needed: http://ADDRESS:PORT, without TLS and without a path"
        ));
    }
    Ok(format!("http://{place}"))
}

/// Where this machine reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_given_as_it_comes_to_hand() {
        for text in ["127.0.0.1:8001", "http://127.0.0.1:8001", "http://127.0.0.1:8001/"] {
            assert_eq!(url(text).unwrap(), "http://127.0.0.1:8001");
        }
        assert_eq!(url("[::1]:8001").unwrap(), "http://[::1]:8001");
        for text in ["https://127.0.0.1:8001", "http://", "", "http://host/api", "http://me@host"] {
            let error = url(text).unwrap_err();
            assert!(error.contains(&format!("{text:?}; needed: http://ADDRESS:PORT")), "{error}");
        }
    }

    #[test]
    fn a_server_that_listens_everywhere_is_reached_on_loopback() {
        let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reached("[::]:1"), "[::1]:1");
        assert_eq!(reached("192.0.2.1:1"), "192.0.2.1:1");
    }
}
