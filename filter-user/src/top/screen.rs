//! The terminal: taken, drawn on and given back; and its keys.

use std::{
    io::{self, IsTerminal as _},
    thread,
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::sync::mpsc;

use super::{Error, channel, model::Model, source::SharedWords, view};

/// The terminal in raw mode with a screen of its own; dropping it gives it back, and so does a panic.
pub struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal.
    pub fn open() -> Result<Self, Error> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(Error::NoTerminal);
        }
        // Installs the hook that gives the terminal back before a panic is told.
        ratatui::try_init().map(Self).map_err(Error::Terminal)
    }

    /// Draws everything anew; only what changed is sent.
    pub(super) fn draw(&mut self, model: &Model, words: &SharedWords) -> Result<(), Error> {
        let words = words.lock();
        let drawn = self.0.draw(|frame| view::draw(frame, model, &words));
        drawn.map(|_| ()).map_err(Error::Terminal)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = ratatui::try_restore();
    }
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// End.
    Quit,
    /// Count names and clients anew.
    Clear,
    /// Stop or go on.
    Pause,
    /// The terminal has another size.
    Redraw,
}

/// Keys as they are pressed. The thread that reads them ends with the process.
pub(super) fn keys() -> io::Result<mpsc::Receiver<Key>> {
    let (sender, keys) = channel();
    thread::Builder::new()
        .name("nxdp-keys".to_owned())
        .spawn(move || {
            while let Ok(event) = event::read() {
                match key(&event) {
                    Some(key) if sender.blocking_send(key).is_err() => return,
                    _ => {}
                }
            }
        })?;
    Ok(keys)
}

fn key(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Redraw),
        Event::Key(KeyEvent {
            code,
            modifiers,
            kind: KeyEventKind::Press,
            ..
        }) => match code {
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
            KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
            KeyCode::Char('c') => Some(Key::Clear),
            KeyCode::Char(' ') => Some(Key::Pause),
            _ => None,
        },
        _ => None,
    }
}
