//! Which room a publishing connection publishes to next, and with which number.
//!
//! Invariants: with at least as many rooms as connections, a room has one publisher, so its numbers
//! rise, and number `s` is for room `s % rooms`. With fewer rooms, connections share them. No number
//! comes twice.

/// The way of one connection through its rooms, again and again.
#[derive(Debug, Clone)]
pub struct Course {
    /// This connection, from 0: its first place.
    connection: u64,
    /// Connections, and so the step to its next place.
    connections: u64,
    rooms: u64,
    place: u64,
    /// Rounds it has begun before this one.
    round: u64,
    /// The round that it stops before.
    rounds_max: u64,
}

impl Course {
    /// The way of `connection` of `connections`, that begins with round `round` of all `rooms`.
    pub fn new(connection: u64, connections: u64, rooms: u64, round: u64) -> Self {
        Self { connection, connections, rooms, place: connection, round, rounds_max: round }
    }

    /// Lets it go on for `rounds` more; `None`: for ever.
    pub fn go_on(&mut self, rounds: Option<u64>) {
        self.rounds_max = rounds.map_or(u64::MAX, |rounds| self.round.saturating_add(rounds));
    }

    /// Ends it where it is.
    pub fn stop(&mut self) {
        self.rounds_max = 0;
    }

    /// True if it has no next publish.
    pub fn is_over(&self) -> bool {
        self.round >= self.rounds_max
    }

    /// Number and room of its next publish.
    pub fn next(&mut self) -> Option<(u64, u64)> {
        if self.is_over() {
            return None;
        }
        let places = self.rooms.max(self.connections);
        let (number, room) = (self.round * places + self.place, self.place % self.rooms);
        self.place += self.connections;
        if self.place >= places {
            (self.place, self.round) = (self.connection, self.round + 1);
        }
        Some((number, room))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all(connections: u64, rooms: u64, rounds: u64) -> Vec<(u64, u64)> {
        let courses = (0..connections).map(|connection| {
            let mut course = Course::new(connection, connections, rooms, 0);
            course.go_on(Some(rounds));
            std::iter::from_fn(move || course.next()).collect::<Vec<_>>()
        });
        courses.flatten().collect()
    }

    #[test]
    fn every_room_is_published_to_once_a_round_by_one_connection() {
        for (connections, rooms) in [(1, 1), (3, 10), (10, 10), (7, 100)] {
            let published = all(connections, rooms, 4);
            assert_eq!(published.len() as u64, rooms * 4);
            assert!(published.iter().all(|(number, room)| number % rooms == *room));
            let numbers: BTreeSet<_> = published.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, (0..rooms * 4).collect());
        }
    }

    #[test]
    fn connections_share_fewer_rooms_and_no_number_comes_twice() {
        let published = all(10, 3, 2);
        let numbers: BTreeSet<_> = published.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers.len(), 20);
        assert_eq!(published.iter().filter(|(_, room)| *room == 0).count(), 8);
    }

    #[test]
    fn a_course_goes_on_where_it_was_and_one_that_is_stopped_has_no_next() {
        let mut course = Course::new(0, 1, 2, 5);
        assert_eq!(course.next(), None);
        course.go_on(Some(1));
        assert_eq!([course.next(), course.next(), course.next()], [Some((10, 0)), Some((11, 1)), None]);
        course.go_on(None);
        assert_eq!(course.next(), Some((12, 0)));
        course.stop();
        assert_eq!(course.next(), None);
    }
}
