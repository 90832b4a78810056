//! A packet's way from end to end.

use crate::{
    answer, bypass, client, dns, emit, event,
    frame::Frame,
    layout::{CONTROL_OVERRIDES, CONTROL_UNTAGGED, Control},
    net,
    reason::Reason,
    rule::AnswerKind,
    scratch::{HEADERS_MAX_BYTES, MESSAGE_MAX_BYTES, Scratch},
    steps::Steps,
    tcp, verdict,
};

/// The stages between reading a frame and writing it. The kernel program runs
/// each as a function of its own; what they find goes through the scratch.
pub trait Stages {
    /// The working memory of this packet.
    fn scratch(&mut self) -> &mut Scratch;
    /// What is worth looking at: the flags of the control record.
    fn flags(&self) -> u32;
    /// [`dns::parse_question`].
    fn parse_question(&mut self) -> Result<(), Reason>;
    /// [`dns::parse_additional`].
    fn parse_additional(&mut self) -> Result<(), Reason>;
    /// [`verdict::decide`].
    fn decide(&mut self) -> Result<AnswerKind, Reason>;
    /// [`client::admit`] and [`answer::sum_question`].
    fn admit(&mut self, path: &net::Path) -> Result<(), Reason>;
    /// [`answer::compose`].
    fn compose(&mut self, kind: AnswerKind) -> Result<Reason, Reason>;
    /// [`emit::rewrite`].
    fn rewrite(&mut self, path: &net::Path);
    /// [`tcp::rewrite`].
    fn rewrite_tcp(&mut self, path: &net::Path);
    /// [`tcp::follow`].
    fn follow(&mut self, path: &net::Path) -> Reason;
    /// [`bypass::judge`].
    fn judge_bypass(&mut self, path: &net::Path) -> Reason;
    /// [`event::tell`].
    fn tell(&mut self, reason: Reason);
}

/// Judges one frame and, if its answer is to be sent, replaces it with the answer.
///
/// `stages` is asked for what a query needs once there is one: most packets are none.
#[inline(always)]
pub fn filter<F: Frame, S: Stages>(frame: &mut F, stages: impl FnOnce() -> Option<S>) -> Reason {
    let path = match net::locate(frame) {
        Ok(path) => path,
        Err(reason) => return reason,
    };
    let Some(stages) = &mut stages() else {
        return Reason::Inconsistent;
    };
    match judge(frame, stages, &path) {
        Ok(reason) | Err(reason) => {
            if reason.is_of_query() && stages.scratch().flags & event::TOLD != 0 {
                stages.tell(reason);
            }
            reason
        }
    }
}

#[inline(always)]
fn judge<F: Frame, S: Stages>(
    frame: &mut F,
    stages: &mut S,
    path: &net::Path,
) -> Result<Reason, Reason> {
    let Some(query_len) = query_len(frame, path)? else {
        return judge_headers(frame, stages, path);
    };
    if path.is_tcp {
        return judge_tcp(frame, stages, path, query_len);
    }
    let kind = decide(frame, stages, path, query_len)?;
    let reason = match stages.admit(path) {
        Ok(()) => stages.compose(kind)?,
        Err(Reason::Slipped) => {
            stages.compose(AnswerKind::Truncate)?;
            Reason::Slipped
        }
        Err(reason) => return Err(reason),
    };
    stages.rewrite(path);
    let len = path.dns_at() + stages.scratch().message_len as usize;
    emit::replace(frame, path, stages.scratch(), len).ok_or(Reason::NoRoom)?;
    Ok(reason)
}

/// Bytes of the query in a packet; `None` if it has none and is judged by its headers.
#[inline(always)]
fn query_len<F: Frame>(frame: &F, path: &net::Path) -> Result<Option<usize>, Reason> {
    if path.destination_port != net::DNS_PORT {
        return Ok(None);
    }
    if path.is_tcp {
        return tcp::query_len(frame, path);
    }
    if path.payload_len < dns::QUERY_MIN_BYTES {
        return Err(Reason::ShortMessage);
    }
    Ok(Some(path.payload_len))
}

/// Judges a query in a segment to the TCP port (RFC 7766).
#[inline(always)]
fn judge_tcp<F: Frame, S: Stages>(
    frame: &mut F,
    stages: &mut S,
    path: &net::Path,
    query_len: usize,
) -> Result<Reason, Reason> {
    let kind = decide(frame, stages, path, query_len)?;
    stages
        .scratch()
        .client
        .read(frame, path)
        .ok_or(Reason::BadFrame)?;
    if matches!(kind, AnswerKind::Truncate) {
        return Err(Reason::TcpOnly);
    }
    match stages.admit(path) {
        Ok(()) => {}
        // It asks over TCP already.
        Err(Reason::Slipped) => return Err(Reason::RateLimited),
        Err(reason) => return Err(reason),
    }
    let reason = stages.compose(kind)?;
    stages.rewrite_tcp(path);
    let len = path.dns_at() + stages.scratch().message_len as usize;
    emit::replace(frame, path, stages.scratch(), len).ok_or(Reason::NoRoom)?;
    Ok(reason)
}

/// A segment without a query, which may belong to a connection that was answered here, or a packet
/// to a port by which DNS goes past the filter. Both in one place: the verifier follows it once.
#[inline(always)]
fn judge_headers<F: Frame, S: Stages>(
    frame: &mut F,
    stages: &mut S,
    path: &net::Path,
) -> Result<Reason, Reason> {
    let is_bypass = path.destination_port != net::DNS_PORT;
    if is_bypass {
        let flags = stages.flags();
        stages.scratch().flags = flags;
    } else if !path.is_answerable {
        return Err(tcp::passing(path.payload_len as u32));
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

/// Loads the message and decides; the answer, if one is to be sent.
#[inline(always)]
fn decide<F: Frame, S: Stages>(
    frame: &F,
    stages: &mut S,
    path: &net::Path,
    query_len: usize,
) -> Result<AnswerKind, Reason> {
    load_query(frame, path, query_len, stages.scratch()).ok_or(Reason::BadFrame)?;
    stages.parse_question()?;
    if stages.scratch().edns != 0 {
        stages.parse_additional()?;
    }
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
    if !path.is_answerable {
        return Err(Reason::Unanswerable);
    }
    Ok(kind)
}

/// Copies the message into the scratch, and in front of it the headers that an answer would need.
#[inline(always)]
fn load_query<F: Frame>(
    frame: &F,
    path: &net::Path,
    query_len: usize,
    scratch: &mut Scratch,
) -> Option<()> {
    let len = query_len.min(MESSAGE_MAX_BYTES);
    scratch.message_len = len as u32;
    scratch.query_len = query_len as u32;
    scratch.payload_len = path.payload_len as u32;
    let headers = if path.is_answerable { path.dns_at() } else { 0 };
    // Longer ones are not answerable: the comparison is for the verifier.
    if headers > HEADERS_MAX_BYTES {
        return None;
    }
    let (from, to) = (path.dns_at() - headers, HEADERS_MAX_BYTES - headers);
    frame.load(from, headers + len, &mut scratch.bytes, to)
}

/// Reads who sends the packet, and copies the headers alone to where they would be in front of a
/// message. Those that do not fit are not answerable, and nobody looks at them.
#[inline(always)]
fn load_headers<F: Frame>(frame: &F, path: &net::Path, scratch: &mut Scratch) -> Option<()> {
    scratch.payload_len = path.payload_len as u32;
    scratch.client.read(frame, path)?;
    let Some(to) = HEADERS_MAX_BYTES.checked_sub(path.dns_at()) else {
        return Some(());
    };
    frame.load(0, path.payload_at(), &mut scratch.bytes, to)
}

/// The host's body of the stages: the functions themselves, over whatever holds the maps.
pub struct Host<'a, T> {
    tables: &'a T,
    scratch: &'a mut Scratch,
}

impl<'a, T: Steps> Host<'a, T> {
    /// Runs over `tables` with `scratch` as working memory.
    pub fn new(tables: &'a T, scratch: &'a mut Scratch) -> Self {
        Self { tables, scratch }
    }
}

impl<T: Steps> Stages for Host<'_, T> {
    fn scratch(&mut self) -> &mut Scratch {
        self.scratch
    }

    fn flags(&self) -> u32 {
        self.tables
            .record(0)
            .map_or(0, |record| Control::of(record).flags)
    }

    fn parse_question(&mut self) -> Result<(), Reason> {
        dns::parse_question(self.scratch)
    }

    fn parse_additional(&mut self) -> Result<(), Reason> {
        dns::parse_additional(self.tables, self.scratch)
    }

    fn decide(&mut self) -> Result<AnswerKind, Reason> {
        verdict::decide(self.tables, self.scratch)
    }

    fn admit(&mut self, path: &net::Path) -> Result<(), Reason> {
        answer::sum_question(self.scratch);
        client::admit(
            self.tables,
            self.scratch,
            client::source(self.scratch, path),
        )
    }

    fn compose(&mut self, kind: AnswerKind) -> Result<Reason, Reason> {
        answer::compose(self.tables, self.scratch, kind)
    }

    fn rewrite(&mut self, path: &net::Path) {
        emit::rewrite(self.scratch, path);
    }

    fn rewrite_tcp(&mut self, path: &net::Path) {
        tcp::rewrite(self.tables, self.scratch, path);
    }

    fn follow(&mut self, path: &net::Path) -> Reason {
        tcp::follow(self.tables, self.scratch, path)
    }

    fn judge_bypass(&mut self, path: &net::Path) -> Reason {
        bypass::judge(self.tables, self.scratch, path)
    }

    fn tell(&mut self, reason: Reason) {
        event::tell(self.tables, self.scratch, reason);
    }
}
