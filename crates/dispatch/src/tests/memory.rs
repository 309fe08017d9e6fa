//! What a fleet remembers over a restart.

use super::*;

/// What is remembered by a fleet that knows nothing else, after so long.
fn restarted(before: &World, away: Duration) -> World {
    let after = World::new();
    let text = serde_json::to_string(&before.fleet.memories(100, before.now)).unwrap();
    let memories: Vec<Memory> = serde_json::from_str(&text).unwrap();
    assert_eq!(after.fleet.recall(&memories, away, after.now), memories.len());
    after
}

#[test]
fn a_restart_forgets_neither_what_was_measured_nor_who_lied() {
    let before = World::new();
    let (good, liar) = (before.link_measured(1, 1_000), before.link(2));
    let until = before.now + 100 * SECOND;
    before.fleet.record(&liar, Outcome::Fault { until }, before.now);
    let mut after = restarted(&before, 40 * SECOND);
    let (known, _) = (after.link(1), after.link(2));
    for read in
        [Statistics::usual_ttft, |s: &Statistics| s.speed().map(|s| Duration::from_secs_f64(s.itl))]
    {
        let of = |member: &Member| member.with_record(|record| read(&record.statistics));
        assert_eq!(of(&known), of(&good));
    }
    assert_eq!(after.choose(&needs()).tally.of(Ineligible::Blocked), 1);
    after.wait(61 * SECOND);
    assert_eq!(after.choose(&needs()).tally.of(Ineligible::Blocked), 0);
}

#[test]
fn time_passes_for_what_is_remembered_while_nobody_runs() {
    let before = World::new();
    before.link_measured(1, 1_000);
    let evidence = |away: Duration| {
        let after = restarted(&before, away);
        after.link(1).with_record(|record| record.statistics.evidence(after.now))
    };
    assert!(evidence(6 * 3_600 * SECOND) < 0.6 * evidence(SECOND));
}

#[test]
fn numbers_that_cannot_be_true_are_not_remembered() {
    let world = World::new();
    world.link_measured(1, 1_000);
    let [memory] = <[Memory; 1]>::try_from(world.fleet.memories(100, world.now)).unwrap();
    let changes: [fn(&mut Measured); 3] = [
        |measured| measured.success[0] = -1.0,
        |measured| measured.served_at_once = f64::INFINITY,
        |measured| measured.ttft_counts.push((1_000, 1.0)),
    ];
    for change in changes {
        let mut memory = memory.clone();
        change(&mut memory.measured);
        let fresh = World::new();
        assert_eq!(fresh.fleet.recall(&[memory], SECOND, fresh.now), 0);
    }
}
