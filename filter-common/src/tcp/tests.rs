//! What is remembered of connections.

use bytemuck::Zeroable;

use super::*;
use crate::{layout::Record, maps::Maps, world::World};

/// A segment over IPv4 without options.
const PATH: Path = Path {
    ip_at: 14,
    is_ipv6: false,
    is_pppoe: false,
    vlan: 0,
    is_tcp: true,
    transport_at: 34,
    transport_len: 20,
    payload_len: 30,
    source_port: 40_000,
    destination_port: 53,
    is_answerable: true,
    odd: 0,
};

fn world() -> World {
    World {
        records: vec![Record::default()],
        ..World::default()
    }
}

/// The scratch with a segment of 30 bytes of data.
fn segment(seq: u32, ack: u32) -> Scratch {
    let mut scratch = Scratch::zeroed();
    scratch.payload_len = 30;
    let at = header_at(&PATH);
    put(&mut scratch.bytes, at + 4, seq.to_be_bytes());
    put(&mut scratch.bytes, at + 8, ack.to_be_bytes());
    scratch
}

fn flow(world: &World) -> Option<Flow> {
    let key = flow_key(world, &segment(0, 0).client).unwrap();
    world.flow(key)
}

/// The state after queries passed, each by its numbers and how many its segment has.
fn state_after(segments: &[(u32, u32, u32)]) -> u32 {
    let world = world();
    for &(seq, ack, count) in segments {
        pass(&world, &segment(seq, ack), &PATH, count);
    }
    flow(&world).unwrap().state
}

#[test]
fn a_client_that_hears_an_answer_before_it_asks_again_pipelines_nothing() {
    assert_eq!(state_after(&[(100, 500, 1)]), FLOW_OPEN);
    assert_eq!(state_after(&[(100, 500, 1), (130, 600, 1)]), FLOW_OPEN);
    // The same segment again says nothing new.
    assert_eq!(state_after(&[(100, 500, 1), (100, 500, 1)]), FLOW_OPEN);
}

#[test]
fn a_client_that_asks_before_it_hears_pipelines_from_then_on() {
    assert_eq!(state_after(&[(100, 500, 2)]), FLOW_PIPELINED);
    let two = [(100, 500, 1), (130, 500, 1)];
    assert_eq!(state_after(&two), FLOW_PIPELINED);
    let [first, second] = two;
    let three = [first, second, (160, 700, 1)];
    assert_eq!(state_after(&three), FLOW_PIPELINED);
}

#[test]
fn the_next_query_of_a_connection_is_expected_behind_the_last_one() {
    let world = world();
    pass(&world, &segment(100, 500), &PATH, 1);
    let known = flow(&world).unwrap();
    assert_eq!((known.server_next, known.heard), (130, 500));
    // Next, and something is heard; heard nothing; not the next bytes.
    for (seq, ack, waits) in [(130, 501, false), (130, 500, true), (129, 501, true)] {
        assert_eq!(
            is_waiting(&world, &segment(seq, ack), &PATH),
            waits,
            "{seq}"
        );
    }
}

#[test]
fn an_answered_connection_keeps_what_the_server_knows_of_it() {
    let world = world();
    let client = segment(0, 0).client;
    let first = Flow {
        state: FLOW_ANSWERED,
        server_next: 100,
        heard: 1,
        client_from: 2,
        client_to: 3,
        heard_to: 4,
    };
    remember(&world, &client, first);
    assert_eq!(flow(&world), Some(first));
    let again = Flow {
        state: FLOW_ANSWERED,
        server_next: 130,
        heard: 11,
        client_from: 12,
        client_to: 13,
        heard_to: 14,
    };
    remember(&world, &client, again);
    let kept = Flow {
        client_to: 13,
        heard_to: 14,
        ..first
    };
    assert_eq!(flow(&world), Some(kept));
    // A number from before is another connection's.
    let other = Flow {
        server_next: 99,
        ..again
    };
    remember(&world, &client, other);
    assert_eq!(flow(&world), Some(other));
}

#[test]
fn nothing_passes_in_a_connection_that_was_answered() {
    let world = world();
    let answered = Flow {
        state: FLOW_ANSWERED,
        server_next: 100,
        ..Flow::default()
    };
    remember(&world, &segment(0, 0).client, answered);
    pass(&world, &segment(100, 500), &PATH, 1);
    assert_eq!(flow(&world), Some(answered));
    assert!(!is_waiting(&world, &segment(100, 500), &PATH));
}
