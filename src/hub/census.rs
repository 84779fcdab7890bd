//! Who is in a room, counted while they come and go, so that a count costs nothing to ask for.
//!
//! Only rooms whose members can be asked for have one.

use std::collections::HashMap;

/// The members of a room that presence shows.
#[derive(Debug, Default)]
pub struct Census {
    clients: u32,
    /// Members of each user, by what tells users apart; all anonymous clients are one user.
    users: HashMap<usize, u32>,
}

impl Census {
    /// Counts one more member, of the user that `user` tells from others.
    pub fn enter(&mut self, user: usize) {
        self.clients += 1;
        *self.users.entry(user).or_default() += 1;
    }

    /// Counts one member less, of a user who entered.
    pub fn leave(&mut self, user: usize) {
        self.clients -= 1;
        let clients = self.users.get_mut(&user).expect("who leaves has entered");
        *clients -= 1;
        if *clients == 0 {
            self.users.remove(&user);
            if self.users.len() < self.users.capacity() / 4 {
                self.users.shrink_to(self.users.len() * 2);
            }
        }
    }

    /// How many members there are, and how many users they are.
    pub fn counts(&self) -> (u32, u32) {
        (self.clients, self.users.len() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_counts_once_until_the_last_of_its_clients_leaves() {
        let mut census = Census::default();
        for user in [7, 7, 8, 0, 0] {
            census.enter(user);
        }
        assert_eq!(census.counts(), (5, 3));
        census.leave(7);
        assert_eq!(census.counts(), (4, 3));
        for user in [7, 0, 8, 0] {
            census.leave(user);
        }
        assert_eq!(census.counts(), (0, 0));
    }
}
