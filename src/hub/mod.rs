//! Rooms: which exist and on which shards they have members, who the members are, which users
//! there are, and the rates that they are held to.
//!
//! Two parts. `Directory` and `Users` are shared by all shards: names are interned there once, and
//! a publisher reads there which shards have members. `Members` is one shard's own.
//!
//! Clients choose the names, so names are hashed with std's `RandomState`, whose key is random:
//! nobody can choose many that collide.
//!
//! Absent on purpose: connections and encoding. Members are keys.

mod census;
mod directory;
mod members;
mod namespace;
mod rates;
mod retention;
mod sketch;
mod users;

pub use census::Census;
pub use directory::{Directory, Room, RoomId};
pub use members::{Member, Members, RoomIndex};
pub use namespace::{Conflate, NamespaceOptions, OverCap, RecoveryMode, Slow};
pub use rates::{Bucket, Buckets, SharedBuckets};
pub use retention::{Durability, Retention};
pub use sketch::{Count, Sketch};
pub use users::{User, Users};
