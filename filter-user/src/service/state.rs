//! The last image that was active, kept on disk.
//!
//! `nxdp load` starts from it after a boot, before any list is read, and the
//! daemon measures new lists by it. It is only ever replaced as a whole.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use filter_lists::image::{Image, ImageError, Kind};
use tokio::task::JoinHandle;

use super::Error;
use crate::{config::Config, identity};

/// Where state is kept unless told otherwise.
pub const STATE_DEFAULT: &str = "/var/lib/nxdp";

/// The folder of a filter's state.
#[derive(Clone, Debug)]
pub(super) struct State {
    folder: PathBuf,
}

impl State {
    pub(super) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The journal of overrides, where the configuration names no other.
    pub(super) fn overrides(&self, config: &Config) -> PathBuf {
        let own = || self.folder.join("overrides");
        config.overrides.clone().unwrap_or_else(own)
    }

    /// The file of the last image.
    pub(super) fn image(&self) -> PathBuf {
        self.folder.join("last.image")
    }

    /// The file of the last image of custom categories.
    pub(super) fn custom_image(&self) -> PathBuf {
        self.folder.join("custom.image")
    }

    /// The last image; `None` if there is none.
    pub(super) fn open(&self) -> Result<Option<Image>, ImageError> {
        Self::open_at(&self.image())
    }

    /// The last image of custom categories; `None` if there is none.
    pub(super) fn open_custom(&self) -> Result<Option<Image>, ImageError> {
        Self::open_at(&self.custom_image())
    }

    fn open_at(path: &Path) -> Result<Option<Image>, ImageError> {
        let opened = match identity::of_owner(path) {
            Ok(_owner) => Image::open(path),
            Err(source) => Err(ImageError::Read {
                path: path.to_owned(),
                source,
            }),
        };
        match opened {
            Err(ImageError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// Keeps an image in place of the one before of its kind.
    pub(super) fn keep(&self, image: &Image) -> Result<(), ImageError> {
        image.save(&match image.kind() {
            Kind::Lists => self.image(),
            Kind::Custom => self.custom_image(),
        })
    }

    /// Keeps no image of custom categories any more.
    pub(super) fn forget_custom(&self) {
        // One that stays is found to be of no category of the configuration.
        let _ = fs::remove_file(self.custom_image());
    }

    /// Removes what is left of images that were not written to their end.
    pub(super) fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            if entry
                .file_name()
                .to_string_lossy()
                .starts_with(Image::PARTIAL_PREFIX)
            {
                // It only takes room.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// What is being kept in the background.
#[derive(Default)]
pub(super) struct Keeping(Option<JoinHandle<Result<(), Error>>>);

impl Keeping {
    /// Keeps an image once those before it are.
    pub(super) fn start(&mut self, state: State, image: Arc<Image>) {
        let before = self.0.take();
        self.0 = Some(tokio::spawn(async move {
            if let Some(before) = before {
                // The newer image takes the place of the older, whatever became of that.
                let _ = before.await;
            }
            let kept = tokio::task::spawn_blocking(move || state.keep(&image));
            Ok(kept.await.map_err(Error::Background)??)
        }));
    }

    /// Waits until the image is on disk, for ever if none is on its way.
    pub(super) async fn finished(&mut self) -> Result<(), Error> {
        let Some(handle) = self.0.as_mut() else {
            return std::future::pending().await;
        };
        let result = handle.await;
        self.0 = None;
        result.map_err(Error::Background)?
    }
}
