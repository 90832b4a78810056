//! The stages between reading a frame and writing it, and what more than one way through them needs.

use crate::{
    emit, event,
    frame::Frame,
    layout::{CONTROL_OVERRIDES, CONTROL_UNTAGGED},
    net, odd,
    parts::Start,
    reason::Reason,
    rule::AnswerKind,
    scratch::{HEADERS_MAX_BYTES, Scratch},
};

/// The stages between reading a frame and writing it. The kernel program runs
/// each as a function of its own; what they find goes through the scratch.
pub trait Stages {
    /// The working memory of this packet.
    fn scratch(&mut self) -> &mut Scratch;
    /// What is worth looking at: the flags of the control record.
    fn flags(&self) -> u32;
    /// [`dns::parse_question`](crate::dns::parse_question).
    fn parse_question(&mut self) -> Result<(), Reason>;
    /// [`dns::parse_additional`](crate::dns::parse_additional).
    fn parse_additional(&mut self);
    /// [`verdict::decide`](crate::verdict::decide).
    fn decide(&mut self) -> Result<AnswerKind, Reason>;
    /// [`client::admit`](crate::client::admit) and [`answer::sum_question`](crate::answer::sum_question).
    fn admit(&mut self, path: &net::Path) -> Result<(), Reason>;
    /// [`answer::compose`](crate::answer::compose).
    fn compose(&mut self, kind: AnswerKind) -> Result<Reason, Reason>;
    /// [`emit::rewrite`](crate::emit::rewrite).
    fn rewrite(&mut self, path: &net::Path);
    /// [`tcp::rewrite`](crate::tcp::rewrite).
    fn rewrite_tcp(&mut self, path: &net::Path);
    /// [`tcp::follow`](crate::tcp::follow).
    fn follow(&mut self, path: &net::Path) -> Reason;
    /// [`parts::resume`](crate::parts::resume).
    fn resume(&mut self, path: &net::Path) -> Start;
    /// [`parts::keep`](crate::parts::keep).
    fn keep(&mut self, path: &net::Path, at: usize, total: u32) -> bool;
    /// [`parts::agrees`](crate::parts::agrees).
    fn agrees(&mut self, path: &net::Path, at: usize, known: usize) -> bool;
    /// [`tcp::pass`](crate::tcp::pass).
    fn pass(&mut self, path: &net::Path, count: u32);
    /// [`merged::may_be`](crate::merged::may_be).
    fn may_be_merged(&mut self, path: &net::Path, interface: u32) -> bool;
    /// [`tcp::is_waiting`](crate::tcp::is_waiting).
    fn is_waiting(&mut self, path: &net::Path) -> bool;
    /// [`tcp::disarmed`](crate::tcp::disarmed).
    fn disarm(&mut self, path: &net::Path, class_at: usize) -> [u8; 2];
    /// [`bypass::judge`](crate::bypass::judge).
    fn judge_bypass(&mut self, path: &net::Path) -> Reason;
    /// [`event::tell`](crate::event::tell).
    fn tell(&mut self, reason: Reason);
}

/// A segment without a query, which may belong to a connection that was answered here, or a packet
/// to a port by which DNS goes past the filter. Both in one place: the verifier follows it once.
#[inline(always)]
pub(crate) fn judge_headers<F: Frame, S: Stages>(
    frame: &mut F,
    stages: &mut S,
    path: &net::Path,
) -> Result<Reason, Reason> {
    let is_bypass = path.destination_port != net::DNS_PORT;
    if is_bypass {
        let flags = stages.flags();
        stages.scratch().flags = flags;
    } else if !path.is_answerable {
        return Err(Reason::Tcp);
    }
    load_headers(frame, path, stages.scratch()).ok_or(Reason::BadFrame)?;
    let reason = if is_bypass {
        stages.judge_bypass(path)
    } else {
        stages.follow(path)
    };
    if matches!(
        reason,
        Reason::BypassReset | Reason::TcpReset | Reason::TcpClosed
    ) {
        emit::replace(frame, path, stages.scratch(), path.payload_at()).ok_or(Reason::NoRoom)?;
    }
    Ok(reason)
}

/// Reads the message in the scratch and decides; the answer, if one is to be sent.
#[inline(always)]
pub(crate) fn decide_parsed<F: Frame, S: Stages>(
    frame: &F,
    stages: &mut S,
    path: &net::Path,
) -> Result<AnswerKind, Reason> {
    parse(stages)?;
    // Once: what comes into force meanwhile would look at a client that was not read.
    let flags = stages.flags();
    stages.scratch().flags = flags;
    if flags & (event::TOLD | CONTROL_OVERRIDES | CONTROL_UNTAGGED) != 0 {
        stages
            .scratch()
            .client
            .read(frame, path)
            .ok_or(Reason::BadFrame)?;
    }
    let kind = stages.decide()?;
    if matches!(kind, AnswerKind::Drop) {
        return Err(Reason::Dropped);
    }
    let odd = stages.scratch().odd;
    if odd != 0 {
        odd::refuse(odd, flags, path.is_answerable)?;
    }
    if !path.is_answerable {
        return Err(Reason::Unanswerable);
    }
    Ok(kind)
}

/// Reads the message in the scratch.
#[inline(always)]
pub(crate) fn parse<S: Stages>(stages: &mut S) -> Result<(), Reason> {
    stages.parse_question()?;
    if stages.scratch().edns != 0 {
        stages.parse_additional();
    }
    Ok(())
}

/// Reads who sends the packet, and copies the headers alone to where they would be in front of a
/// message. Those that do not fit are not answerable, and nobody looks at them.
#[inline(always)]
pub(crate) fn load_headers<F: Frame>(
    frame: &F,
    path: &net::Path,
    scratch: &mut Scratch,
) -> Option<()> {
    scratch.payload_len = path.payload_len as u32;
    scratch.client.read(frame, path)?;
    let Some(to) = HEADERS_MAX_BYTES.checked_sub(path.dns_at()) else {
        return Some(());
    };
    frame.load(0, path.payload_at(), &mut scratch.bytes, to)
}
