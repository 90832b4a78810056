//! Lines that a program built with the feature `log` writes, one a packet.
//!
//! For debugging only: a release carries no such program, and then there is
//! nothing to read.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// The lines of a loaded program, on standard error.
pub(crate) struct PacketLog(EbpfLogger<StandardError>);

impl PacketLog {
    /// The log of a program, if it was built with one.
    pub(crate) fn of(ebpf: &mut Ebpf) -> Option<Self> {
        EbpfLogger::init_with_logger(ebpf, StandardError)
            .ok()
            .map(Self)
    }

    /// Writes what came since the last call.
    pub(crate) fn flush(&mut self) {
        self.0.flush();
    }
}

struct StandardError;

impl Log for StandardError {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!("packet: {}", record.args());
    }

    fn flush(&self) {}
}
