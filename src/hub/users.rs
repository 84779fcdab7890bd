//! The named users of the whole server, each interned once however many connections they have.
//!
//! Invariant: a user is in the set exactly while it has connections, and `connections` counts them.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use triomphe::ThinArc;

/// Parts of the set, each with its own lock, so that shards rarely wait for each other.
const PARTS: usize = 64;

/// A named user: one pointer to the count of its connections and the name behind it.
#[derive(Debug, Clone)]
pub struct User(ThinArc<AtomicU32, u8>);

// A connection keeps one: keep it a pointer that can be absent for free.
const _: () = assert!(size_of::<Option<User>>() == size_of::<usize>());

impl User {
    /// The user's name, which a token's `sub` claim gave.
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.0.slice).expect("made from a str")
    }

    /// What tells users apart while they are connected: equal for equal names.
    pub fn identity(&self) -> usize {
        self.0.as_ptr().addr()
    }
}

impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        self.0.slice == other.0.slice
    }
}
impl Eq for User {}
impl Hash for User {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}
impl std::borrow::Borrow<str> for User {
    fn borrow(&self) -> &str {
        self.name()
    }
}

/// The named users of the whole server.
#[derive(Debug)]
pub struct Users {
    parts: [Mutex<HashSet<User>>; PARTS],
    hasher: RandomState,
}

impl Default for Users {
    fn default() -> Self {
        Users { parts: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl Users {
    /// Takes note of one more connection of the user `name`; `None` if it has `limit` already.
    /// A limit of 0 is no limit.
    pub fn enter(&self, name: &str, limit: u32) -> Option<User> {
        let mut part = self.part(name);
        if let Some(user) = part.get(name) {
            let connections = &user.0.header.header;
            if limit > 0 && connections.load(Ordering::Relaxed) >= limit {
                return None;
            }
            connections.fetch_add(1, Ordering::Relaxed);
            return Some(user.clone());
        }
        let user = User(ThinArc::from_header_and_slice(AtomicU32::new(1), name.as_bytes()));
        part.insert(user.clone());
        Some(user)
    }

    /// Takes note that one connection of `user` has gone.
    pub fn leave(&self, user: &User) {
        let mut part = self.part(user.name());
        if user.0.header.header.fetch_sub(1, Ordering::Relaxed) == 1 {
            part.remove(user.name());
            if part.len() < part.capacity() / 4 {
                part.shrink_to_fit();
            }
        }
    }

    /// The user `name`, if it has connections.
    pub fn find(&self, name: &str) -> Option<User> {
        self.part(name).get(name).cloned()
    }

    /// How many users there are.
    pub fn count(&self) -> usize {
        self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn part(&self, name: &str) -> MutexGuard<'_, HashSet<User>> {
        let index = self.hasher.hash_one(name) as usize % PARTS;
        self.parts[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_interned_once_and_forgotten_with_its_last_connection() {
        let users = Users::default();
        let (first, second) = (users.enter("ann", 0).unwrap(), users.enter("ann", 0).unwrap());
        assert_eq!(first.identity(), second.identity());
        assert_eq!(first.name(), "ann");
        users.enter("bob", 0).unwrap();
        users.leave(&first);
        assert_eq!((users.find("ann"), users.count()), (Some(second.clone()), 2));
        users.leave(&second);
        assert_eq!((users.find("ann"), users.count()), (None, 1));
    }

    #[test]
    fn a_user_may_have_as_many_connections_as_the_limit_says() {
        let users = Users::default();
        let first = users.enter("bob", 2).unwrap();
        users.enter("bob", 2).unwrap();
        assert!(users.enter("bob", 2).is_none());
        assert!(users.enter("eve", 2).is_some());
        users.leave(&first);
        assert!(users.enter("bob", 2).is_some());
    }
}
