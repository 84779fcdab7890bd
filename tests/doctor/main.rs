//! `throng doctor`: each check's ways to end, whole recorded boxes, servers that run, and the binary.
//!
//! A box is a directory of text files: one that a test makes and changes, or one of `trees/`, which
//! `record` copied from a box.

#[path = "../common/mod.rs"]
pub mod common;

mod apply;
mod binary;
mod capacity;
mod machine;
mod made;
mod network;
mod place;
mod recorded;
mod running;
