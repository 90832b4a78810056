//! Where a message goes on.

use bytemuck::Zeroable;

use super::*;
use crate::{emit::put, layout::Record, world::World};

/// A segment over IPv4 without options.
const PATH: Path = Path {
    ip_at: 14,
    is_ipv6: false,
    is_pppoe: false,
    vlan: 0,
    is_tcp: true,
    transport_at: 34,
    transport_len: 20,
    payload_len: 10,
    source_port: 40_000,
    destination_port: 53,
    is_answerable: true,
    odd: 0,
};

/// The scratch with a segment of 10 bytes of data.
fn segment(seq: u32) -> Scratch {
    let mut scratch = Scratch::zeroed();
    scratch.payload_len = 10;
    let at = tcp::header_at(&PATH) + 4;
    put(&mut scratch.bytes, at, seq.to_be_bytes());
    scratch
}

/// A world in which the first 10 bytes of a message came at 100; it has `total` if its question was
/// judged.
fn world(total: u32) -> World {
    let world = World {
        records: vec![Record::default()],
        ..World::default()
    };
    keep(&world, &segment(100), &PATH, 0, total);
    world
}

fn resumed(world: &World, seq: u32) -> (usize, usize) {
    let start = resume(world, &mut segment(seq), &PATH);
    (start.kept, start.rest)
}

#[test]
fn a_question_goes_on_where_its_part_ended_or_from_inside_it() {
    for (seq, kept) in [(100, 0), (101, 1), (110, 10), (111, 0), (99, 0)] {
        assert_eq!(resumed(&world(0), seq), (kept, 0), "{seq}");
    }
}

#[test]
fn the_rest_of_a_judged_message_passes_and_what_is_behind_it_does_not() {
    // The message ends at 130.
    assert_eq!(resumed(&world(30), 110), (0, 10));
    assert_eq!(resumed(&world(30), 105), (0, 10));
    assert_eq!(resumed(&world(30), 100), (0, 0));
    assert_eq!(resumed(&world(30), 111), (0, 0));
    // It ends inside the segment.
    assert_eq!(resumed(&world(15), 110), (0, 5));
    // It has ended: what comes is the next message.
    assert_eq!(resumed(&world(10), 110), (0, 0));
    let world = world(30);
    assert_eq!(resumed(&world, 110), (0, 10));
    assert_eq!(resumed(&world, 120), (0, 10));
    assert_eq!(resumed(&world, 130), (0, 0));
}

#[test]
fn a_part_that_comes_again_is_kept_once() {
    let world = world(0);
    // Shorter, the same start: what is kept stays.
    let mut shorter = segment(100);
    shorter.payload_len = 4;
    keep(&world, &shorter, &PATH, 0, 0);
    assert_eq!(resumed(&world, 110), (10, 0));
}

#[test]
fn a_part_is_not_pushed_out_before_its_rest_came_or_nobody_waits_for_it() {
    let late = |world: &World| {
        world.parts.borrow_mut().values_mut().for_each(|part| {
            assert_eq!(part.held_until_ns, PART_HELD_NS);
            part.held_until_ns = 0;
        });
    };
    // Another start is another message, and the place is that of all connections here.
    let first = world(0);
    assert!(!keep(&first, &segment(200), &PATH, 0, 0));
    assert_eq!(resumed(&first, 110), (10, 0));
    late(&first);
    assert!(keep(&first, &segment(200), &PATH, 0, 0));
    assert_eq!(resumed(&first, 110), (0, 0));
    assert_eq!(resumed(&first, 210), (10, 0));
    // The whole passed.
    let second = world(0);
    release(&second, &segment(110));
    assert!(keep(&second, &segment(200), &PATH, 0, 0));
    // The rest of it is still to come.
    let third = world(30);
    release(&third, &segment(110));
    assert!(!keep(&third, &segment(200), &PATH, 0, 0));
    // Another message begins where it ended, in the same segment.
    let fourth = world(0);
    let mut next = segment(110);
    next.found.count = 1;
    assert!(keep(&fourth, &next, &PATH, 5, 0));
}
