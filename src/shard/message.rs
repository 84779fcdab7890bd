//! What other threads may tell a shard. Data plane and control plane meet here and nowhere else.

/// A message in a shard's inbox. `E` is the service's own closed enum.
#[derive(Debug)]
pub enum Message<E> {
    /// Stop accepting, close every connection with 3001 spread evenly over this time, then end.
    Drain {
        /// Time to spread the closes over; 0 closes all at once.
        over_ms: u64,
    },
    /// Say that it was taken in, by `Stats::probe`.
    Probe {
        /// Number of the question, above 0.
        number: u64,
    },
    /// For the service.
    Service(E),
}
