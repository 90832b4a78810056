//! How many clients of the control socket there are at a time.
//!
//! Each takes a descriptor and a task, and may take its time. One user's clients must not
//! keep out those of another, nor the filter from its files.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::net::{UnixStream, unix::UCred};

/// Clients of one user at a time.
const USER_MAX: usize = 64;

/// The clients of each user.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<u32, usize>>>);

/// The place of a client, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    peer: UCred,
}

impl Places {
    /// A place for the client at the other end, or why there is none.
    pub(super) fn take(&self, stream: &UnixStream) -> Result<Place, String> {
        let peer = stream
            .peer_cred()
            .map_err(|error| format!("ask the kernel who asks: {error}"))?;
        let mut places = self.lock();
        let taken = places.entry(peer.uid()).or_default();
        if *taken == USER_MAX {
            return Err(format!(
                "{USER_MAX} clients of user {} are being answered: ask again",
                peer.uid()
            ));
        }
        *taken += 1;
        drop(places);
        Ok(Place {
            places: self.clone(),
            peer,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        // Counts are whole whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Who has it.
    pub(super) fn peer(&self) -> &UCred {
        &self.peer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.places.lock();
        if let Some(taken) = places.get_mut(&self.peer.uid()) {
            *taken -= 1;
            if *taken == 0 {
                places.remove(&self.peer.uid());
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
        let places = Places::default();
        let mut taken: Vec<Place> = (0..USER_MAX)
            .map(|_| places.take(&client).unwrap())
            .collect();
        let refused = places.take(&client).unwrap_err();
        assert!(refused.contains("ask again"), "{refused}");
        taken.pop();
        taken.push(places.take(&client).unwrap());
        drop(taken);
        assert!(places.lock().is_empty());
    }
}
