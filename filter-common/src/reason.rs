//! What became of a packet, and why: one name an exit, one counter a name.

use crate::listed;

/// What the driver does with the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hands it to the network stack.
    Pass,
    /// Frees it.
    Drop,
    /// Sends it back where it came from.
    Transmit,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal, $action:ident;)+) => {
        listed! {
            /// Why a packet was passed, dropped or answered; its word is the name of its counter.
            pub enum Reason: u8 {
                $($(#[doc = $doc])+ $variant = $number, $name;)+
            }
        }

        impl Reason {
            /// The name of the counter.
            pub const fn name(self) -> &'static str {
                self.word()
            }

            /// Whether a query was judged by its name.
            #[inline(always)]
            pub const fn is_of_query(self) -> bool {
                let number = self as u8;
                number >= Self::Qclass as u8
                    && number <= Self::RateLimited as u8
                    && number != Self::TcpSegment as u8
                    || matches!(
                        self,
                        Self::RecordCount
                            | Self::Delegation
                            | Self::Untagged
                            | Self::OddHeaders
                            | Self::OddDropped
                            | Self::FormErr
                            | Self::BadVersion
                            | Self::Several
                            | Self::Stranger
                            | Self::TcpError
                            | Self::ServFail
                    )
            }

            /// What happens to the frame.
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self { $(Self::$variant => Action::$action,)+ }
            }
        }
    };
}

reasons! {
    /// Neither IPv4 nor IPv6 inside Ethernet, two VLAN tags or a PPPoE session.
    NotIp = 0, "pass_not_ip", Pass;
    /// IP, but neither UDP nor TCP.
    OtherProtocol = 1, "pass_other_protocol", Pass;
    /// UDP or TCP to another port than 53.
    OtherPort = 2, "pass_other_port", Pass;
    /// TCP to port 53 without data: a connection that begins, ends or waits.
    Tcp = 3, "pass_tcp", Pass;
    /// The frame ends before its headers do, or their lengths contradict.
    BadFrame = 4, "pass_bad_frame", Pass;
    /// A fragment of a datagram.
    Fragment = 5, "pass_fragment", Pass;
    /// An IPv6 extension header that hides the rest: authentication or encryption.
    ExtensionHeaders = 6, "pass_extension_headers", Pass;
    /// Fewer than 17 bytes: no question fits.
    ShortMessage = 7, "pass_short_message", Pass;
    /// QR=1: a response.
    Response = 8, "pass_response", Pass;
    /// Another opcode than QUERY without a question; or with one that is blocked, and odd queries pass.
    Opcode = 9, "pass_opcode", Pass;
    /// Not exactly one question.
    QuestionCount = 10, "pass_question_count", Pass;
    /// Blocked, but has records in the answer or authority section, and odd queries pass.
    RecordCount = 11, "pass_record_count", Pass;
    /// A compression pointer or a reserved label type in the question; odd queries pass, or nothing is blocked.
    LabelType = 12, "pass_label_type", Pass;
    /// A qname of more than 255 bytes.
    LongName = 13, "pass_long_name", Pass;
    /// The message ends within the question.
    ShortQuestion = 14, "pass_short_question", Pass;
    /// Blocked, but of another class than IN, and odd queries pass.
    Qclass = 15, "pass_qclass", Pass;
    /// Blocked, but the additional section holds something else than one OPT record, and odd queries pass.
    Additional = 16, "pass_additional", Pass;
    /// Blocked, but the OPT record is cut short, and odd queries pass.
    BadEdns = 17, "pass_bad_edns", Pass;
    /// Blocked, but of another EDNS version than 0, and odd queries pass.
    EdnsVersion = 18, "pass_edns_version", Pass;
    /// No list is loaded.
    NoGeneration = 19, "pass_no_generation", Pass;
    /// No rule is for this name.
    NoRule = 20, "pass_no_rule", Pass;
    /// An exception lets the name through.
    Allowed = 21, "pass_allowed", Pass;
    /// Would have been blocked; the rule or the mode says observe.
    Observed = 22, "pass_observed", Pass;
    /// The tables contradict themselves.
    Inconsistent = 23, "pass_inconsistent", Pass;
    /// Answered with NXDOMAIN.
    NxDomain = 24, "answer_nxdomain", Transmit;
    /// Answered with NODATA.
    NoData = 25, "answer_nodata", Transmit;
    /// Answered with REFUSED.
    Refused = 26, "answer_refused", Transmit;
    /// Answered with an address.
    Address = 27, "answer_address", Transmit;
    /// Answered with TC=1.
    Truncated = 28, "answer_truncated", Transmit;
    /// Blocked and dropped, as the rule or the mode says.
    Dropped = 29, "drop_blocked", Drop;
    /// Blocked and dropped, because an answer could be abused or misread.
    Unanswerable = 30, "drop_unanswerable", Drop;
    /// Blocked and dropped, because the frame has no room for an answer.
    NoRoom = 31, "drop_no_room", Drop;
    /// Blocked, but asked by nobody who may be answered, neither a private address, nor one on the attached
    /// networks, nor a listed client, and strangers pass.
    NotClient = 32, "pass_not_client", Pass;
    /// The client's policy filters nothing.
    Unfiltered = 33, "pass_unfiltered", Pass;
    /// The client's policy is paused.
    Paused = 34, "pass_paused", Pass;
    /// The operator lets the name through.
    Overridden = 35, "pass_override", Pass;
    /// TCP to port 53 with data that cannot be told apart into messages; odd queries pass, or nothing is blocked.
    TcpSegment = 36, "pass_tcp_segment", Pass;
    /// The rule wants the client to ask over TCP, and it does.
    TcpOnly = 37, "pass_tcp_only", Pass;
    /// Blocked, by a client prefix that caused too many answers: TC=1.
    Slipped = 38, "answer_slip", Transmit;
    /// Blocked, by a client prefix that caused too many answers: dropped.
    RateLimited = 39, "drop_rate_limited", Drop;
    /// The connection's query was answered here; its server is told that it is over.
    TcpReset = 40, "pass_tcp_reset", Pass;
    /// The connection's query was answered here; the client's end of it is confirmed.
    TcpClosed = 41, "answer_tcp_close", Transmit;
    /// The connection's query was answered here; nobody else need know of this segment.
    TcpQuiet = 42, "drop_tcp_closed", Drop;
    /// A connection to an encrypted resolver that the policy refuses: reset.
    BypassReset = 43, "answer_bypass_reset", Transmit;
    /// A datagram, or what cannot be reset, to an encrypted resolver that the policy refuses: dropped.
    BypassDropped = 44, "drop_bypass", Drop;
    /// Whether a blocked name is signed (DS): not the name itself but the zone above it answers.
    Delegation = 45, "pass_delegation", Pass;
    /// Blocked and dropped, because the interface takes VLAN tags off: the answer could leave in another VLAN.
    Untagged = 46, "drop_tag_offload", Drop;
    /// A packet to an encrypted resolver that would have been refused; the policy says observe.
    BypassObserved = 47, "pass_bypass_observed", Pass;
    /// Answered with SERVFAIL.
    ServFail = 48, "answer_servfail", Transmit;
    /// Blocked, but what leads to the message is odd, and odd queries pass.
    OddHeaders = 49, "pass_odd_headers", Pass;
    /// More VLAN tags or IPv6 extension headers than are followed; odd queries pass, or nothing is blocked.
    HeaderChain = 50, "pass_header_chain", Pass;
    /// A first fragment to port 53 without a whole question; odd queries pass, or nothing is blocked.
    FirstFragment = 51, "pass_first_fragment", Pass;
    /// Blocked and dropped: the query is odd, and no error would help its sender.
    OddDropped = 52, "drop_odd", Drop;
    /// Blocked, and answered with FORMERR: records that are no part of a query, or a broken OPT record.
    FormErr = 53, "answer_formerr", Transmit;
    /// Blocked, and answered with BADVERS: another EDNS version than 0.
    BadVersion = 54, "answer_badvers", Transmit;
    /// Dropped: a query whose question cannot be read, though a resolver would answer it.
    Unreadable = 55, "drop_unreadable", Drop;
    /// Bytes behind the message that are no message, in a datagram of which nothing is blocked.
    Ragged = 56, "pass_ragged", Pass;
    /// Dropped: several messages in one datagram, of which one is blocked.
    Several = 57, "drop_several", Drop;
    /// Blocked and dropped: asked by a stranger, neither a private address nor a listed client.
    Stranger = 58, "drop_stranger", Drop;
    /// TCP to port 53 with a part of a query, which is judged when the rest comes.
    TcpPart = 59, "pass_tcp_part", Pass;
    /// Blocked, behind queries that wait for their answer: it passes as one that servers have nothing but an
    /// error for.
    TcpError = 60, "pass_tcp_error", Pass;
    /// More messages in one datagram than are looked at; odd queries pass, or nothing is blocked.
    Crowded = 61, "pass_crowded", Pass;
}

/// Counters a CPU: one for every number that a reason's byte can have, so that
/// the verifier needs no proof that a reason is one of [`Reason::ALL`].
pub const COUNTER_COUNT: usize = 256;

/// The counter of events that found no room; no reason has it.
pub const EVENTS_LOST: usize = COUNTER_COUNT - 1;

/// Counters of frames by the index of their interface, which follow those of reasons: two interfaces
/// whose indexes differ by a multiple of this share one.
pub const ARRIVAL_COUNT: usize = 256;

/// All counters of a CPU.
pub const SLOT_COUNT: usize = COUNTER_COUNT + ARRIVAL_COUNT;

/// The counter of frames that came by the interface with this index.
#[inline(always)]
pub const fn arrival_slot(interface: u32) -> usize {
    COUNTER_COUNT + (interface as usize & (ARRIVAL_COUNT - 1))
}

const _: () = assert!(Reason::ALL.len() <= EVENTS_LOST);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_positions() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, i);
        }
    }

    #[test]
    fn whatever_comes_of_a_blocked_name_is_of_a_query() {
        for reason in Reason::ALL {
            let is_bypass = format!("{reason:?}").starts_with("Bypass");
            let is_answer_or_drop = reason.action() != Action::Pass;
            let is_nameless = matches!(
                reason,
                Reason::TcpClosed | Reason::TcpQuiet | Reason::Unreadable
            );
            if is_answer_or_drop && !is_bypass && !is_nameless {
                assert!(reason.is_of_query(), "{reason:?}");
            }
        }
        for reason in [
            Reason::Delegation,
            Reason::NotClient,
            Reason::Observed,
            Reason::TcpOnly,
            Reason::Untagged,
        ] {
            assert!(reason.is_of_query(), "{reason:?}");
        }
        assert!(!Reason::TcpSegment.is_of_query());
        assert!(!Reason::BypassObserved.is_of_query());
    }

    #[test]
    fn the_prefix_of_a_name_tells_the_action() {
        for reason in Reason::ALL {
            let prefix = match reason.action() {
                Action::Pass => "pass_",
                Action::Drop => "drop_",
                Action::Transmit => "answer_",
            };
            assert!(reason.name().starts_with(prefix), "{reason:?}");
        }
    }
    #[test]
    fn counters_of_interfaces_follow_those_of_reasons_and_lie_within_all() {
        const { assert!(EVENTS_LOST < COUNTER_COUNT) };
        let slots: Vec<usize> = (0..600).map(arrival_slot).collect();
        assert!(
            slots
                .iter()
                .all(|slot| (COUNTER_COUNT..SLOT_COUNT).contains(slot))
        );
        assert_eq!((slots[1], slots[255]), (COUNTER_COUNT + 1, SLOT_COUNT - 1));
        assert_eq!(slots[1], slots[1 + ARRIVAL_COUNT]);
    }
}
