//! A packet's way from end to end.

use crate::{
    answer,
    client::{self, Clients},
    dns, emit,
    frame::Frame,
    layout::Record,
    net,
    reason::Reason,
    rule::AnswerKind,
    scratch::{HEADERS_MAX_BYTES, MESSAGE_MAX_BYTES, Scratch},
    verdict,
};

/// The stages between reading a frame and writing it. The kernel program runs
/// each as a function of its own; what they find goes through the scratch.
pub trait Stages {
    /// The working memory of this packet.
    fn scratch(&mut self) -> &mut Scratch;
    /// [`dns::parse`].
    fn parse(&mut self) -> Result<(), Reason>;
    /// [`verdict::decide`].
    fn decide(&mut self) -> Result<AnswerKind, Reason>;
    /// [`client::is_client`].
    fn is_client(&mut self, path: &net::Path) -> bool;
    /// [`answer::sum_question`].
    fn sum_question(&mut self);
    /// [`answer::compose`].
    fn compose(&mut self, kind: AnswerKind) -> Result<Reason, Reason>;
    /// [`emit::rewrite`].
    fn rewrite(&mut self, path: &net::Path);
}

/// Judges one frame and, if its answer is to be sent, replaces it with the answer.
#[inline(always)]
pub fn filter<F: Frame, S: Stages>(frame: &mut F, stages: &mut S) -> Reason {
    match judge(frame, stages) {
        Ok(reason) | Err(reason) => reason,
    }
}

#[inline(always)]
fn judge<F: Frame, S: Stages>(frame: &mut F, stages: &mut S) -> Result<Reason, Reason> {
    let path = net::locate(frame)?;
    if path.dns_len < dns::QUERY_MIN_BYTES {
        return Err(Reason::ShortMessage);
    }
    load(frame, &path, stages.scratch()).ok_or(Reason::BadFrame)?;
    stages.parse()?;
    let kind = stages.decide()?;
    if matches!(kind, AnswerKind::Drop) {
        return Err(Reason::Dropped);
    }
    if !path.is_answerable {
        return Err(Reason::Unanswerable);
    }
    if !stages.is_client(&path) {
        return Err(Reason::NotClient);
    }
    stages.sum_question();
    let reason = stages.compose(kind)?;
    stages.rewrite(&path);
    emit::replace(frame, &path, stages.scratch()).ok_or(Reason::NoRoom)?;
    Ok(reason)
}

/// Copies the message into the scratch, and in front of it the headers that an answer would need.
#[inline(always)]
fn load<F: Frame>(frame: &F, path: &net::Path, scratch: &mut Scratch) -> Option<()> {
    let len = path.dns_len.min(MESSAGE_MAX_BYTES);
    scratch.message_len = len as u32;
    scratch.categories = u64::MAX;
    let headers = if path.is_answerable { path.dns_at() } else { 0 };
    // Longer ones are not answerable: the comparison is for the verifier.
    if headers > HEADERS_MAX_BYTES {
        return None;
    }
    let (from, to) = (path.dns_at() - headers, HEADERS_MAX_BYTES - headers);
    frame.load(from, headers + len, &mut scratch.bytes, to)
}

/// The host's body of the stages: the functions themselves, over a slice of records.
pub struct Host<'a> {
    records: &'a [Record],
    clients: &'a dyn Clients,
    scratch: &'a mut Scratch,
}

impl<'a> Host<'a> {
    /// Runs over `records` with `scratch` as working memory and answers `clients`.
    pub fn new(records: &'a [Record], clients: &'a dyn Clients, scratch: &'a mut Scratch) -> Self {
        Self {
            records,
            clients,
            scratch,
        }
    }
}

impl Stages for Host<'_> {
    fn scratch(&mut self) -> &mut Scratch {
        self.scratch
    }

    fn parse(&mut self) -> Result<(), Reason> {
        dns::parse(self.scratch)
    }

    fn decide(&mut self) -> Result<AnswerKind, Reason> {
        verdict::decide(self.records, self.scratch)
    }

    fn is_client(&mut self, path: &net::Path) -> bool {
        client::is_client(self.clients, self.scratch, path)
    }

    fn sum_question(&mut self) {
        answer::sum_question(self.scratch);
    }

    fn compose(&mut self, kind: AnswerKind) -> Result<Reason, Reason> {
        answer::compose(self.records, self.scratch, kind)
    }

    fn rewrite(&mut self, path: &net::Path) {
        emit::rewrite(self.scratch, path);
    }
}
