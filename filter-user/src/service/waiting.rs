//! Who waits for the outcome of a reload.
//!
//! A reload that runs may have read files before they changed: whoever asks meanwhile waits for
//! the one after it.

use super::socket::Asked;

/// The clients that wait.
#[derive(Default)]
pub(super) struct Waiting {
    /// For what is being prepared.
    now: Vec<Asked>,
    /// For what is prepared after it.
    next: Vec<Asked>,
}

impl Waiting {
    /// Lets a client wait; `is_busy` where something else is being prepared already.
    pub(super) fn add(&mut self, asked: Asked, is_busy: bool) {
        match is_busy {
            true => self.next.push(asked),
            false => self.now.push(asked),
        }
    }

    /// The clients that waited for what is done now; those of the next one are at the front then.
    pub(super) fn done(&mut self) -> Vec<Asked> {
        let next = std::mem::take(&mut self.next);
        std::mem::replace(&mut self.now, next)
    }
}
