//! fastwebsockets as throng's peer, used the way its manual recommends and no further.
//!
//! The upgrade is hyper's (feature `upgrade`) and the socket is split, as in the library's own examples.
//! One task per connection runs both halves. Messages are `Bytes`, shared by all members; each is one
//! frame and one write, because the library has no way to write several frames at once.
//!
//! Absent on purpose: compression, TLS, pings of the server's own, limits on who may join what.

use std::io;
use std::sync::Arc;

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use throng_peers::{JOINED, Membership, Rooms, Said, parse};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

fn main() -> io::Result<()> {
    let rooms = Arc::new(Rooms::default());
    throng_peers::run(move |stream, id| {
        let rooms = Arc::clone(&rooms);
        // A connection's error is its own end and nobody else's business.
        async move { _ = accept(stream, id, rooms).await }
    })
}

async fn accept(stream: TcpStream, id: u64, rooms: Arc<Rooms<Bytes>>) -> hyper::Result<()> {
    let answer = service_fn(move |mut request: Request<Incoming>| {
        let upgraded = upgrade(&mut request);
        let rooms = Arc::clone(&rooms);
        async move {
            let (response, socket) = upgraded?;
            tokio::spawn(async move { _ = serve(socket, id, rooms).await });
            Ok::<Response<Empty<Bytes>>, WebSocketError>(response)
        }
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), answer).with_upgrades().await
}

async fn serve(socket: UpgradeFut, id: u64, rooms: Arc<Rooms<Bytes>>) -> Result<(), WebSocketError> {
    let (reader, writer) = socket.await?.split(tokio::io::split);
    let mut reader = FragmentCollectorRead::new(reader);
    // The reader writes too: what it owes for a ping or a close, and `joined`.
    let writer = Mutex::new(writer);
    let (mut member, mut queue) = Membership::new(id, Arc::clone(&rooms));
    let too_slow = member.too_slow();

    let read = async {
        loop {
            let mut owed = |frame| async { writer.lock().await.write_frame(frame).await };
            let frame = reader.read_frame(&mut owed).await?;
            match frame.opcode {
                OpCode::Close => return Ok(()),
                OpCode::Text => {}
                _ => continue,
            }
            // The library has checked that a text is UTF-8.
            match parse(std::str::from_utf8(&frame.payload).unwrap_or_default()) {
                Said::Join(numbers) => {
                    member.join(&numbers);
                    let joined = Frame::text(Payload::Borrowed(JOINED.as_bytes()));
                    writer.lock().await.write_frame(joined).await?;
                }
                Said::Publish(room) => rooms.publish(room, &Bytes::copy_from_slice(&frame.payload)),
                Said::Nonsense => return Ok(()),
            }
        }
    };
    let write = async {
        while let Some(message) = queue.recv().await {
            writer.lock().await.write_frame(Frame::text(Payload::Borrowed(&message))).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = read => ended,
        ended = write => ended,
        () = too_slow.notified() => Ok(()),
    }
}
