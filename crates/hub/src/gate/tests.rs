//! What the gate decides, on a clock that the test moves.

use super::*;

const NOW: i64 = 1_800_000_000;

fn at(second: i64) -> Time {
    Time::from_second(NOW + second).unwrap()
}

fn gate() -> Gate {
    let shared = vec!["198.51.100.1".parse().unwrap()];
    Gate::new(Limits { shared, ..Limits::default() }, at(0))
}

fn place(text: &str) -> Place {
    text.parse().unwrap()
}

fn wait(error: &HubError) -> u32 {
    assert_eq!(error.code(), ErrorCode::TooManyRequests);
    error.wait_for().unwrap().seconds
}

/// A call that verified, of this cost.
fn call(gate: &Gate, key: KeyId, tokens: u32, now: Time) -> Result<(), HubError> {
    gate.admit_key(key, now)?;
    gate.take(key, tokens, now);
    Ok(())
}

#[test]
fn an_instrument_at_full_speed_is_never_slowed() {
    let gate = gate();
    let key = KeyId([7; 16]);
    // Nine thousand objects a second for ten minutes, which is more than a hub takes.
    for second in 0..600 {
        for _ in 0..9000 {
            call(&gate, key, 1, at(second)).unwrap();
        }
    }
    assert!(gate.state().dirty.is_empty(), "and nothing of it is written");
}

#[test]
fn a_key_that_asks_for_too_much_is_told_how_long_to_wait_and_others_are_not() {
    let gate = gate();
    let (greedy, other) = (KeyId([1; 16]), KeyId([2; 16]));
    let scrubs = (0..100).take_while(|_| call(&gate, greedy, 20_000, at(0)).is_ok()).count();
    assert_eq!(scrubs, 6);
    let refused = call(&gate, greedy, 1, at(0)).unwrap_err();
    assert_eq!(wait(&refused), 2);
    assert_eq!(refused.wait_for().unwrap().policy, Some(("key", 100_000)));
    call(&gate, other, 20_000, at(0)).unwrap();
    call(&gate, greedy, 1, at(2)).unwrap();
}

#[test]
fn an_address_pays_for_what_does_not_verify_and_a_shared_one_later() {
    let gate = gate();
    for (text, most) in
        [("192.0.2.7", 200), ("2001:db8::7", 200), ("198.51.100.1", 2000), ("127.0.0.1", 2000)]
    {
        let place = place(text);
        for _ in 0..=most {
            gate.admit(place, at(0)).unwrap();
            gate.charge(place, 1, at(0));
        }
        assert_eq!(wait(&gate.admit(place, at(0)).unwrap_err()), 1, "{text}");
        // A few may connect all the same: one of them may have a known key.
        assert_eq!((0..100).filter(|_| gate.may_connect(place, at(0))).count(), 6, "{text}");
        gate.admit(place, at(1)).unwrap();
    }
    // Another address of the same /64 is the same caller.
    gate.admit(place("2001:db8::ffff:1"), at(1)).unwrap();
    for _ in 0..200 {
        gate.charge(place("2001:db8::ffff:1"), 1, at(1));
    }
    assert!(gate.admit(place("2001:db8::7"), at(1)).is_err());
    gate.admit(place("2001:db8:0:1::7"), at(1)).unwrap();
}

fn strike_until_blocked(gate: &Gate, subject: Subject, now: Time) -> usize {
    (1..10_000).find(|_| gate.strike(subject, ONE, ErrorCode::BadSignature, now)).unwrap()
}

#[test]
fn blocks_begin_short_grow_and_are_forgotten_after_a_day() {
    let gate = gate();
    let address = place("192.0.2.7");
    let subject = Subject::Address(address);
    let mut now = 0;
    for seconds in [60, 240, 960, 3840, 15_360, 61_440, 86_400, 86_400] {
        assert_eq!(strike_until_blocked(&gate, subject, at(now)), 100);
        let told = gate.admit(address, at(now)).unwrap_err();
        assert_eq!(wait(&told), seconds);
        assert!(told.title().contains("192.0.2.7") && told.title().contains("bad_signature"));
        now += i64::from(seconds);
        gate.admit(address, at(now)).unwrap();
    }
    now += DAY_SECONDS + 1;
    assert_eq!(strike_until_blocked(&gate, subject, at(now)), 100);
    assert_eq!(wait(&gate.admit(address, at(now)).unwrap_err()), 60);
}

#[test]
fn a_blocked_address_may_connect_now_and_then_to_be_told() {
    let gate = gate();
    let address = place("192.0.2.7");
    strike_until_blocked(&gate, Subject::Address(address), at(0));
    let told = (0..100).filter(|_| gate.may_connect(address, at(0))).count();
    assert_eq!(told, 6);
    assert!(gate.may_connect(address, at(1)));
    assert!(!gate.may_connect(address, at(1)));
}

#[test]
fn a_shared_address_is_never_blocked_and_a_key_behind_it_is() {
    let gate = gate();
    for text in ["127.0.0.1", "::1", "198.51.100.1"] {
        let subject = Subject::Address(place(text));
        let blocked = (0..10_000).any(|_| gate.strike(subject, ONE, ErrorCode::Replay, at(0)));
        assert!(!blocked, "{text}");
    }
    let key = KeyId([1; 16]);
    let strikes = (1..).find(|_| gate.strike(Subject::Key(key), ONE, ErrorCode::Forbidden, at(0)));
    assert_eq!(strikes, Some(300));
    assert_eq!(wait(&call(&gate, key, 1, at(0)).unwrap_err()), 60);
    call(&gate, KeyId([2; 16]), 1, at(0)).unwrap();
}

#[test]
fn now_and_then_a_refusal_blocks_nobody() {
    let gate = gate();
    let address = Subject::Address(place("192.0.2.7"));
    let key = Subject::Key(KeyId([1; 16]));
    for minute in 0..10_000 {
        for _ in 0..9 {
            assert!(!gate.strike(address, ONE, ErrorCode::BadSignature, at(60 * minute)));
        }
        for _ in 0..59 {
            assert!(!gate.strike(key, ONE, ErrorCode::NotFound, at(60 * minute)));
        }
    }
}

#[test]
fn who_is_lifted_begins_anew_and_a_block_without_end_says_so() {
    let gate = gate();
    let address = place("192.0.2.7");
    let by = AccountId::generate();
    let block = gate.block(Subject::Address(address), None, "scans", by, at(0));
    assert_eq!(gate.blocks(at(1_000_000)), std::slice::from_ref(&block));
    let told = gate.admit(address, at(1_000_000)).unwrap_err();
    assert!(told.title().contains("until an operator lifts it"));
    assert_eq!(gate.lift(block.id, at(5)).unwrap().1, block);
    assert!(gate.lift(block.id, at(5)).is_none() && gate.blocks(at(5)).is_empty());
    gate.admit(address, at(5)).unwrap();
}

#[test]
fn a_flood_of_addresses_takes_a_bounded_memory_and_is_slowed_as_one() {
    let gate = gate();
    let address = |n: u32| Place::from(IpAddr::from(n.to_be_bytes()));
    let n = u32::try_from(MOST_ADDRESSES).unwrap();
    for number in 0..2 * n {
        gate.charge(address(number), 1, at(0));
        gate.strike(Subject::Address(address(number)), ONE, ErrorCode::BadSignature, at(0));
    }
    assert!(gate.state().callers.len() <= MOST_ADDRESSES);
    // A key that verifies is remembered all the same.
    call(&gate, KeyId([1; 16]), 1, at(0)).unwrap();
    // An hour later the strikes have worn off and there is room again. What was changed goes once it is written.
    gate.state().dirty.clear();
    gate.charge(address(1), 1, at(3600));
    assert!(gate.state().callers.len() < 10);
}

#[test]
fn who_has_a_network_full_of_addresses_fills_no_more_than_its_own_part() {
    let gate = gate();
    // Somebody who was refused often from an address of their own, and is near to be blocked.
    let near = Subject::Address(place("192.0.2.7"));
    for _ in 0..99 {
        gate.strike(near, ONE, ErrorCode::BadSignature, at(0));
    }
    let one_of = |n: u32| {
        let [a, b, c, d] = n.to_be_bytes();
        Place::V6([0x20, 1, 0xd, 0xb8, a, b, c, d])
    };
    for n in 0..3 * u32::try_from(MOST_ADDRESSES).unwrap() {
        gate.charge(one_of(n), 1, at(0));
        gate.strike(Subject::Address(one_of(n)), ONE, ErrorCode::BadSignature, at(0));
    }
    assert!(gate.state().callers.len() <= MOST_ADDRESSES);
    // It is remembered, and a new one is counted as any other.
    assert!(gate.strike(near, ONE, ErrorCode::BadSignature, at(0)), "blocked at the hundredth");
    let new = place("198.51.100.77");
    assert_eq!(strike_until_blocked(&gate, Subject::Address(new), at(0)), 100);
    assert!(gate.admit(new, at(0)).is_err());
}

#[test]
fn a_known_key_is_heard_from_a_blocked_address_unless_an_operator_blocked_it() {
    let gate = gate();
    let address = place("192.0.2.7");
    strike_until_blocked(&gate, Subject::Address(address), at(0));
    // Ten may try at once and then one a second, so that trying costs the hub little.
    assert_eq!((0..100).filter(|_| gate.may_show_a_key(address, false, at(0))).count(), 10);
    assert!(gate.may_show_a_key(address, false, at(1)));
    assert!(!gate.may_show_a_key(address, false, at(1)));
    // A connection on which one was shown tries no more.
    assert!((0..100).all(|_| gate.may_show_a_key(address, true, at(1))));
    gate.block(Subject::Address(address), None, "scans", AccountId::generate(), at(2));
    assert!(!gate.may_show_a_key(address, true, at(100)));
}
