//! `[demo]`: the small chat at `/demo` on the admin listener.

use serde::Deserialize;

/// `[demo]`: a page to try throng with, its rooms and its users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Demo {
    /// It is there; not given: see [`super::Config::has_demo`].
    pub enabled: Option<bool>,
}
