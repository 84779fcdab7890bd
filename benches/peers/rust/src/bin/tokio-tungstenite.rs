//! tokio-tungstenite as throng's peer, used the way its manual recommends and no further.
//!
//! One task per connection. Messages are `Utf8Bytes`, shared by all members. All that waits for a member
//! is fed into the write buffer and flushed once, as `write_buffer_size` recommends. The read buffer is
//! 4 KiB, which the manual of `read_buffer_size` recommends for many connections (its default is 128 KiB).
//!
//! Absent on purpose: compression, TLS, pings of the server's own, limits on who may join what.

use std::io;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use throng_peers::{JOINED, Membership, Rooms, Said, parse};
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

const READ_BUFFER_BYTES: usize = 4 * 1024;

fn main() -> io::Result<()> {
    let rooms = Arc::new(Rooms::default());
    throng_peers::run(move |stream, id| {
        let rooms = Arc::clone(&rooms);
        // A connection's error is its own end and nobody else's business.
        async move { _ = serve(stream, id, rooms).await }
    })
}

async fn serve(stream: TcpStream, id: u64, rooms: Arc<Rooms<Message>>) -> Result<(), Error> {
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    let (mut member, mut queue) = Membership::new(id, Arc::clone(&rooms));
    let too_slow = member.too_slow();
    loop {
        tokio::select! {
            waiting = queue.recv() => {
                let mut waiting = waiting;
                while let Some(message) = waiting {
                    tokio::select! {
                        biased;
                        fed = socket.feed(message) => fed?,
                        () = too_slow.notified() => return Ok(()),
                    }
                    waiting = queue.try_recv().ok();
                }
                tokio::select! {
                    biased;
                    flushed = socket.flush() => flushed?,
                    () = too_slow.notified() => return Ok(()),
                }
            }
            received = socket.next() => match received.transpose()? {
                Some(Message::Text(text)) => match parse(&text) {
                    Said::Join(numbers) => {
                        member.join(&numbers);
                        socket.send(Message::text(JOINED)).await?;
                    }
                    Said::Publish(room) => rooms.publish(room, &Message::Text(text)),
                    Said::Nonsense => return Ok(()),
                },
                // Pings are answered by the library.
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}
