//! Request bodies: from the network's pieces to the bytes that were meant.
//!
//! Owns the codings (HTTP's and ClickHouse's own) and telling a complete body
//! from a broken one. Invariant: the reader ends with `Ok(0)` only if the whole
//! body came; a client that goes away reads as an error.

use std::io::{self, Read};

use axum::body::Body;
use bytes::{Buf, Bytes};
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::lz4_block::BlockReader;

/// Pieces on their way from the network to the engine's thread.
const PIECES_WAITING: usize = 8;
/// What is read and thrown away after an early error, so that the client gets
/// to reading the answer.
const DISCARDED_BYTES_MAX: usize = 256 << 20;

enum Piece {
    Data(Bytes),
    End,
}

/// The network's end of a body; give it to [`Sender::pump`].
pub(crate) struct Sender(mpsc::Sender<Piece>);

/// The engine's end of a body.
pub(crate) struct Receiver(mpsc::Receiver<Piece>);

/// A way for a body from the network to the engine's thread.
pub(crate) fn channel() -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::channel(PIECES_WAITING);
    (Sender(sender), Receiver(receiver))
}

impl Sender {
    /// Carries the body over, to its end, or until it breaks or there is no use.
    pub(crate) async fn pump(self, body: Body) {
        let mut pieces = body.into_data_stream();
        let mut discarded = 0;
        while let Some(piece) = pieces.next().await {
            let Ok(piece) = piece else { return };
            let length = piece.len();
            if self.0.send(Piece::Data(piece)).await.is_err() {
                discarded += length;
                if discarded > DISCARDED_BYTES_MAX {
                    return;
                }
            }
        }
        // A send that fails says that the answer is already on its way.
        let _ = self.0.send(Piece::End).await;
    }
}

/// Reads the pieces of a channel.
struct Pieces {
    receiver: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Piece::Data(data)) => self.current = data,
                Some(Piece::End) => self.ended = true,
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let n = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}

/// How the bytes of a body are wrapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coding {
    /// `Content-Encoding`.
    pub(crate) content: Option<String>,
    /// `decompress=1`: ClickHouse's compressed blocks.
    pub(crate) blocks: bool,
}

impl Receiver {
    /// A reader of the unwrapped bytes.
    ///
    /// # Errors
    /// If the content coding is not known.
    pub(crate) fn reader(self, coding: &Coding) -> io::Result<Box<dyn Read>> {
        let pieces = Pieces { receiver: self.0, current: Bytes::new(), ended: false };
        let content = coding.content.as_deref().unwrap_or("identity").trim().to_ascii_lowercase();
        let reader: Box<dyn Read> = match content.as_str() {
            "" | "identity" => Box::new(pieces),
            "gzip" | "x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(pieces)),
            "deflate" => Box::new(flate2::read::ZlibDecoder::new(pieces)),
            "lz4" => Box::new(lz4_flex::frame::FrameDecoder::new(pieces)),
            "zstd" => Box::new(zstd::stream::read::Decoder::new(pieces)?),
            other => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!("Content-Encoding {other:?}; use gzip, deflate, lz4 or zstd"),
                ));
            }
        };
        Ok(if coding.blocks { Box::new(BlockReader::new(reader)) } else { reader })
    }
}
