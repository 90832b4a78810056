//! A packet's way from end to end.

use crate::{
    answer, bypass, client, dns, emit, event,
    frame::Frame,
    layout::Control,
    merged, net, odd,
    parts::{self, Start},
    reason::Reason,
    rule::AnswerKind,
    scratch::{Found, HEADERS_MAX_BYTES, MESSAGE_MAX_BYTES, MESSAGES_MAX, Scratch},
    stages::{Stages, decide_parsed, judge_headers, parse},
    steps::Steps,
    stream, tcp, verdict,
};

/// Judges one frame and, if its answer is to be sent, replaces it with the answer.
///
/// `stages` is asked for what a query needs once there is one: most packets are none.
#[inline(always)]
pub fn filter<F: Frame, S: Stages>(frame: &mut F, stages: impl FnOnce() -> Option<S>) -> Reason {
    let located = net::locate(frame);
    if let Err(reason) = located
        && !odd::hides_question(reason)
    {
        return reason;
    }
    let Some(stages) = &mut stages() else {
        return Reason::Inconsistent;
    };
    let settled = located.and_then(|path| net::settled(&path, &mut stages.scratch().path));
    let path = match settled {
        Ok(path) => path,
        Err(reason) => {
            stages.scratch().client.read_link(frame);
            return refuse_unread(stages, reason);
        }
    };
    let reason = match judge(frame, stages, &path) {
        Ok(reason) => reason,
        Err(reason) => unless_cut(stages.scratch().path.odd, reason),
    };
    if odd::hides_question(reason) {
        // Read again, or it is kept on the stack all the while.
        let path = net::path_of(&mut stages.scratch().path);
        stages.scratch().client.read(frame, &path);
        return refuse_unread(stages, reason);
    }
    if reason.is_of_query() && stages.scratch().flags & event::TOLD != 0 {
        stages.tell(reason);
    }
    reason
}

/// What is not in a first fragment is in another one.
#[inline(always)]
const fn unless_cut(odd: u32, reason: Reason) -> Reason {
    match reason {
        Reason::ShortMessage | Reason::ShortQuestion if odd & odd::FRAGMENT != 0 => {
            Reason::FirstFragment
        }
        reason => reason,
    }
}

#[inline(always)]
fn judge<F: Frame, S: Stages>(
    frame: &mut F,
    stages: &mut S,
    path: &net::Path,
) -> Result<Reason, Reason> {
    if path.destination_port != net::DNS_PORT {
        return judge_headers(frame, stages, path);
    }
    if path.is_tcp {
        return stream::judge(frame, stages, path);
    }
    let query_len = path.payload_len;
    if query_len < dns::QUERY_MIN_BYTES {
        return Err(Reason::ShortMessage);
    }
    let mut decided = decide(frame, stages, path, query_len);
    if stages.scratch().message_end as usize + dns::QUERY_MIN_BYTES <= query_len {
        decided = decide_rest(frame, stages, path);
    } else if let Err(reason) = decided
        && query_len >= 2 * dns::QUERY_MIN_BYTES
        && has_no_end(stages.scratch(), reason)
        && stages.may_be_merged(path, frame.interface())
    {
        decided = Err(Reason::Crowded);
    }
    let kind = decided?;
    let reason = match stages.admit(path) {
        Ok(()) => stages.compose(kind)?,
        Err(Reason::Slipped) if stages.scratch().odd == 0 => {
            stages.compose(AnswerKind::Truncate)?;
            Reason::Slipped
        }
        Err(Reason::Slipped) => return Err(Reason::RateLimited),
        Err(reason) => return Err(reason),
    };
    stages.rewrite(path);
    let len = path.dns_at() + stages.scratch().message_len as usize;
    emit::replace(frame, path, stages.scratch(), len).ok_or(Reason::NoRoom)?;
    Ok(reason)
}

/// Whether nobody knows where the message ends that was decided for `reason`.
#[inline(always)]
const fn has_no_end(scratch: &Scratch, reason: Reason) -> bool {
    const HIDES_END: u32 = odd::RECORDS | odd::ADDITIONAL | odd::EDNS;
    !reason.is_of_query() || scratch.odd & HIDES_END != 0
}

/// Refuses a query whose question cannot be read, or says why it passes.
#[inline(always)]
fn refuse_unread<S: Stages>(stages: &mut S, reason: Reason) -> Reason {
    let flags = stages.flags();
    let scratch = stages.scratch();
    scratch.flags = flags;
    scratch.odd = odd::unreadable(reason);
    scratch.label_count = 0;
    match stages.decide() {
        Err(Reason::Unreadable) => Reason::Unreadable,
        _ => reason,
    }
}

/// Decides a datagram that has more than its first message.
///
/// Frames that were merged on their way (GRO) have several, each as long as the first but the last,
/// and a resolver gets them apart. None of them is answered: what an answer makes of such a frame
/// would be cut into pieces of the old size.
#[inline(always)]
fn decide_rest<F: Frame, S: Stages>(
    frame: &F,
    stages: &mut S,
    path: &net::Path,
) -> Result<AnswerKind, Reason> {
    let size = stages.scratch().message_end as usize;
    stages.scratch().found = Found {
        at: size as u32,
        ..Found::default()
    };
    let mut looked = 1;
    while looked < MESSAGES_MAX {
        let at = stages.scratch().found.at as usize;
        if at + dns::QUERY_MIN_BYTES > path.payload_len {
            break;
        }
        let len = size.min(path.payload_len - at);
        let decided = decide_message(frame, stages, path.payload_at() + at, len);
        let scratch = stages.scratch();
        if decided.is_ok() {
            scratch.found.blocked = 1;
        } else if scratch.message_end as usize != len {
            break;
        }
        scratch.found.count += 1;
        scratch.found.at += size as u32;
        looked += 1;
    }
    let Found {
        at, blocked, count, ..
    } = stages.scratch().found;
    let is_whole = at as usize >= path.payload_len;
    let is_crowded = looked == MESSAGES_MAX && !is_whole;
    if is_crowded && blocked == 0 {
        return Err(Reason::Crowded);
    }
    // The size that the others have is not that of what was understood.
    if !is_whole && blocked == 0 && stages.may_be_merged(path, frame.interface()) {
        return Err(Reason::Crowded);
    }
    // The first one again: what follows is told of it, or answers it.
    match decide(frame, stages, path, path.payload_len) {
        _ if blocked != 0 => Err(Reason::Several),
        Ok(_) if count > 0 => Err(Reason::Several),
        Err(Reason::NoRule | Reason::Allowed) if !is_whole => Err(Reason::Ragged),
        decided => decided,
    }
}

/// Decides one message of several; it was not understood if it does not end where it should.
#[inline(always)]
fn decide_message<F: Frame, S: Stages>(
    frame: &F,
    stages: &mut S,
    at: usize,
    len: usize,
) -> Result<AnswerKind, Reason> {
    let scratch = stages.scratch();
    let loaded = len.min(MESSAGE_MAX_BYTES);
    scratch.message_len = loaded as u32;
    scratch.query_len = len as u32;
    scratch.odd = 0;
    scratch.message_end = 0;
    frame
        .load(at, loaded, &mut scratch.bytes, HEADERS_MAX_BYTES)
        .ok_or(Reason::BadFrame)?;
    parse(stages)?;
    stages.decide()
}

/// Loads a datagram's message and decides; the answer, if one is to be sent.
#[inline(always)]
fn decide<F: Frame, S: Stages>(
    frame: &F,
    stages: &mut S,
    path: &net::Path,
    query_len: usize,
) -> Result<AnswerKind, Reason> {
    load_query(frame, path, query_len, stages.scratch()).ok_or(Reason::BadFrame)?;
    decide_parsed(frame, stages, path)
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
    scratch.odd = path.odd;
    scratch.message_end = query_len as u32;
    let headers = if path.is_answerable { path.dns_at() } else { 0 };
    // Longer ones are not answerable: the comparison is for the verifier.
    if headers > HEADERS_MAX_BYTES {
        return None;
    }
    let (from, to) = (path.dns_at() - headers, HEADERS_MAX_BYTES - headers);
    frame.load(from, headers + len, &mut scratch.bytes, to)
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

    fn parse_additional(&mut self) {
        dns::parse_additional(self.tables, self.scratch);
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

    fn resume(&mut self, path: &net::Path) -> Start {
        parts::resume(self.tables, self.scratch, path)
    }

    fn keep(&mut self, path: &net::Path, at: usize, total: u32) -> bool {
        parts::keep(self.tables, self.scratch, path, at as u32, total)
    }

    fn agrees(&mut self, path: &net::Path, at: usize, known: usize) -> bool {
        parts::agrees(self.tables, self.scratch, path, at as u32, known as u32)
    }

    fn pass(&mut self, path: &net::Path, count: u32) {
        tcp::pass(self.tables, self.scratch, path, count);
        parts::release(self.tables, self.scratch);
    }

    fn may_be_merged(&mut self, path: &net::Path, interface: u32) -> bool {
        merged::may_be(self.tables, self.scratch, path, interface)
    }

    fn is_waiting(&mut self, path: &net::Path) -> bool {
        tcp::is_waiting(self.tables, self.scratch, path)
    }

    fn disarm(&mut self, path: &net::Path, class_at: usize) -> [u8; 2] {
        tcp::disarmed(self.scratch, path, class_at)
    }

    fn judge_bypass(&mut self, path: &net::Path) -> Reason {
        bypass::judge(self.tables, self.scratch, path)
    }

    fn tell(&mut self, reason: Reason) {
        event::tell(self.tables, self.scratch, reason);
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;
    use crate::{
        address::mapped,
        frame::BufferFrame,
        layout::{
            CONTROL_OVERRIDES, CONTROL_UNTAGGED, Header, LAYOUT_VERSION, PolicyRecord, Record,
        },
        world::World,
    };

    /// A world with an empty generation and these flags.
    fn world(flags: u32) -> World {
        let control = Control {
            active: 1,
            flags,
            ..Control::default()
        };
        let header = Header {
            layout: LAYOUT_VERSION,
            bucket_count: 1,
            bucket_base: 1,
            ..Header::zeroed()
        };
        let mut records = vec![Record::zeroed(); 4];
        records[0] = Record(bytemuck::cast(control));
        records[1] = Record(bytemuck::cast(header));
        World {
            records,
            policies: [(0, PolicyRecord::default())].into(),
            ..World::default()
        }
    }

    /// 10.0.0.2 asks 10.0.0.1 for the A record of `a`.
    fn query() -> Vec<u8> {
        let mut frame = vec![0; 14 + 20 + 8];
        frame[12] = 8;
        frame[14..24].copy_from_slice(&[0x45, 0, 0, 47, 0, 0, 0, 0, 64, 17]);
        frame[26..34].copy_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
        frame[34..40].copy_from_slice(&[0x9c, 0x40, 0, 53, 0, 27]);
        frame.extend([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        frame.extend(*b"\x01a\0\0\x01\0\x01");
        frame
    }

    #[test]
    fn who_asks_is_read_where_some_flag_wants_to_know() {
        for (flags, is_read) in [
            (0, false),
            (CONTROL_OVERRIDES, true),
            (CONTROL_UNTAGGED, true),
            (event::TOLD, true),
            (event::TOLD | CONTROL_OVERRIDES | CONTROL_UNTAGGED, true),
        ] {
            let mut buffer = query();
            let len = buffer.len();
            let mut frame = BufferFrame::new(&mut buffer, len);
            let mut scratch = Scratch::zeroed();
            let world = world(flags);
            let reason = filter(&mut frame, || Some(Host::new(&world, &mut scratch)));
            assert_eq!(reason, Reason::NoRule, "{flags}");
            let source = if is_read {
                mapped([10, 0, 0, 2])
            } else {
                [0; 16]
            };
            assert_eq!(scratch.client.source, source, "{flags}");
        }
    }
}
