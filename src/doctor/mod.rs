//! What the operating system gives, what a number of connections needs of it, and how to change it.

pub mod sysctl;
