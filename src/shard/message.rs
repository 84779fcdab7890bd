//! What other threads may tell a shard. Data plane and control plane meet here and nowhere else.

/// A message in a shard's inbox. `E` is the service's own closed enum.
#[derive(Debug)]
pub enum Message<E> {
    /// Take in whoever waits to be accepted, then accept nobody: the first step of a drain, which
    /// `Stats::is_retired` answers.
    Retire,
    /// Close every connection with 3001, in random order and spread evenly over this time. Comes after
    /// `Retire`.
    Drain {
        /// Time to spread the closes over; 0 closes all at once.
        over_ms: u64,
    },
    /// Close nobody any more and accept again: takes `Retire` and `Drain` back.
    Resume,
    /// End. Whoever is still connected is dropped.
    End,
    /// Say that it was taken in, by `Stats::probe`.
    Probe {
        /// Number of the question, above 0.
        number: u64,
    },
    /// For the service.
    Service(E),
}
