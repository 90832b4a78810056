//! How many clients of the control socket there are at a time.
//!
//! Each takes a descriptor and a task, and may take its time; what it has sent or has not read
//! yet takes memory. One user's clients must not keep out those of another, nor take the memory
//! or the files of the filter.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::net::{UnixStream, unix::UCred};

/// Clients of one user at a time.
const USER_MAX: usize = 64;
/// Bytes that may wait for clients of one user before another one is answered.
const USER_MAX_BYTES: usize = 4 * 1024 * 1024;

/// The clients of each user.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<HashMap<u32, Taken>>>);

/// What one user takes.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    clients: usize,
    bytes: usize,
}

/// The place of a client, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    connections: Connections,
    peer: UCred,
    bytes: usize,
}

impl Connections {
    /// A place for the client at the other end, or why there is none.
    pub(super) fn take(&self, stream: &UnixStream) -> Result<ConnectionPermit, String> {
        let peer = stream
            .peer_cred()
            .map_err(|error| format!("ask the kernel who asks: {error}"))?;
        let mut connections = self.lock();
        let taken = connections.entry(peer.uid()).or_default();
        if taken.clients == USER_MAX {
            return Err(format!(
                "{USER_MAX} clients of user {} are being answered: ask again",
                peer.uid()
            ));
        }
        taken.clients += 1;
        drop(connections);
        Ok(ConnectionPermit {
            connections: self.clone(),
            peer,
            bytes: 0,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Taken>> {
        // Counts are whole whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// Who has it.
    pub(super) fn peer(&self) -> &UCred {
        &self.peer
    }

    /// Says why there is no memory for a request or an answer: what the user's other clients take.
    ///
    /// Asked before the work is done. One answer may be as long as it is; while it waits, there is
    /// no other one.
    pub(super) fn check_room(&self) -> Result<(), String> {
        let taken = self.connections.lock().get(&self.peer.uid()).copied();
        let others = taken.unwrap_or_default().bytes - self.bytes;
        if others > USER_MAX_BYTES {
            return Err(format!(
                "other clients of user {} have not read their answers yet: ask again when they have",
                self.peer.uid()
            ));
        }
        Ok(())
    }

    /// Notes what the client takes now, in place of what it took before.
    pub(super) fn take_bytes(&mut self, bytes: usize) {
        let mut connections = self.connections.lock();
        let taken = connections.entry(self.peer.uid()).or_default();
        taken.bytes = taken.bytes - self.bytes + bytes;
        self.bytes = bytes;
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut connections = self.connections.lock();
        if let Some(taken) = connections.get_mut(&self.peer.uid()) {
            taken.clients -= 1;
            taken.bytes -= self.bytes;
            if taken.clients == 0 {
                connections.remove(&self.peer.uid());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_user_has_so_many_places_and_gets_them_back() {
        let (client, _other_end) = UnixStream::pair().unwrap();
        let connections = Connections::default();
        let mut taken: Vec<ConnectionPermit> = (0..USER_MAX)
            .map(|_| connections.take(&client).unwrap())
            .collect();
        let refused = connections.take(&client).unwrap_err();
        assert!(refused.contains("ask again"), "{refused}");
        taken.pop();
        taken.push(connections.take(&client).unwrap());
        drop(taken);
        assert!(connections.lock().is_empty());
    }

    #[tokio::test]
    async fn answers_that_nobody_reads_take_so_much_memory_and_not_more() {
        const LONG: usize = 16 * 1024 * 1024;
        let (client, _other_end) = UnixStream::pair().unwrap();
        let connections = Connections::default();
        let mut first = connections.take(&client).unwrap();
        first.take_bytes(USER_MAX_BYTES / 2);
        let mut second = connections.take(&client).unwrap();
        second.check_room().unwrap();
        second.take_bytes(LONG);
        assert!(
            second.check_room().is_ok(),
            "its own answer is not in its way"
        );
        let third = connections.take(&client).unwrap();
        let refused = third.check_room().unwrap_err();
        assert!(refused.contains("ask again"), "{refused}");
        drop(second);
        third.check_room().unwrap();
        drop((first, third));
        assert!(connections.lock().is_empty());
    }
}
