//! Work that waits for the network, on a thread of its own: who watches is asked all the while whether to go on, and told
//! how long nothing has come.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use crate::HubError;
use crate::http::{Progress, TICK, Watch};

/// Work on a thread of its own, which says something from time to time.
pub(crate) struct Aside<T> {
    words: Receiver<T>,
}

impl<T: Send + 'static> Aside<T> {
    /// Begins it. Nobody waits for its end: it ends by itself, at the latest when what it says is heard by nobody.
    pub fn start(work: impl FnOnce(&SyncSender<T>) + Send + 'static) -> Aside<T> {
        let (to, words) = sync_channel(1);
        // Without a thread nothing is ever said, which is the end of the work.
        let _ = std::thread::Builder::new().spawn(move || work(&to));
        Aside { words }
    }

    /// What it says next; `None` when it is over.
    pub fn next(&mut self, place: &str, watch: &mut Watch<'_>) -> Result<Option<T>, HubError> {
        let begun = Instant::now();
        loop {
            match self.words.recv_timeout(TICK) {
                Ok(word) => return Ok(Some(word)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {
                    if watch(&Progress::Silent { place, since: begun.elapsed() }).is_break() {
                        return Err(HubError::Stopped { place: place.to_owned() });
                    }
                }
            }
        }
    }
}

/// What an answer brings, piece by piece.
pub(crate) fn pieces(body: ureq::Body) -> Aside<io::Result<Vec<u8>>> {
    let mut reader = body.into_reader();
    Aside::start(move |to| {
        loop {
            let mut piece = vec![0; 1 << 17];
            let read = reader.read(&mut piece);
            let is_last = !matches!(read, Ok(1..));
            let word = read.map(|n| {
                piece.truncate(n);
                piece
            });
            if to.send(word).is_err() || is_last {
                return;
            }
        }
    })
}
