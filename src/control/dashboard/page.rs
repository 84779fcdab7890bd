//! The page: HTML, style and script as one response that fetches nothing but snapshots.
//!
//! The browser is told to run and show what carries this response's nonce, and to speak with nobody but
//! this listener: names of rooms, which clients choose, could do nothing even if the page showed them wrongly.

use axum::http::StatusCode;
use axum::response::Response;

use crate::control::page;

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page, which connects to nothing but this listener.
pub(super) fn response(status: StatusCode) -> Response {
    page::response(status, "'self'", text)
}

fn text(nonce: &str) -> String {
    let style = format!("<style nonce=\"{nonce}\">\n{STYLE}</style>");
    let script = format!("<script type=\"module\" nonce=\"{nonce}\">\n{SCRIPT}</script>");
    HTML.replace("<!-- page.css -->", &style).replace("<!-- page.js -->", &script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Disconnect;
    use crate::shard::CLOSE_CODES;

    #[test]
    fn the_page_is_whole_and_names_no_other_place() {
        let page = text("0123");
        assert_eq!(page.matches("nonce=\"0123\"").count(), 2);
        assert!(page.contains(STYLE) && page.contains(SCRIPT) && !page.contains("<!-- page"));
        let names = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!names.contains("http:") && !names.contains("https:") && !names.contains("src=\"//"));
    }

    #[test]
    fn the_page_calls_close_codes_what_the_protocol_calls_them() {
        for code in CLOSE_CODES.into_iter().filter(|code| *code >= 3000) {
            let disconnect =
                Disconnect::ALL.into_iter().find(|disconnect| disconnect.code() == code).unwrap();
            let line = format!("  {code}: \"{}\",\n", disconnect.reason());
            assert!(SCRIPT.contains(&line), "no line {line}");
        }
    }
}
