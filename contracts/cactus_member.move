/// One node's membership in one pool: when it was active, and the work it handed in, in order of time. Moves no money
/// and asks nobody's permission; `pool` does the asking.
///
/// Work is only ever taken from the front of its queue and never moved within it, so nothing can slip past the time in
/// which it may be invalidated.
module cactus::member {
    use aptos_std::table::{Self, Table};

    //
    // Constants
    //

    const NEVER: u64 = 18446744073709551615;

    //
    // Structs
    //

    enum Member has store {
        V1 {
            operator: address,
            active: bool,
            /// From when on the current interval is not taken yet; means nothing while inactive.
            from_seconds: u64,
            /// Ended intervals that are not taken yet, in order of time.
            intervals: vector<Interval>,
            /// Work by number; those below `first_work` are taken.
            works: Table<u64, Work>,
            first_work: u64,
            next_work: u64,
            /// Nothing after this moment counts: a hard invalidation put an end to it.
            void_after_seconds: u64,
        }
    }

    struct Interval has copy, drop, store {
        from_seconds: u64,
        to_seconds: u64,
    }

    enum Work has copy, drop, store {
        V1 { units: u64, submitted_seconds: u64, valid: bool }
    }

    /// What `pool::member` answers; all zero if there is none.
    struct MemberView has copy, drop {
        operator: address,
        active: bool,
        /// Put an end to by a hard invalidation.
        void: bool,
        /// Works handed in and not claimed.
        waiting_works: u64,
        banned: bool,
    }

    //
    // For the other modules
    //

    /// A member that is not active yet.
    package fun new(operator: address): Member {
        Member::V1 {
            operator, active: false, from_seconds: 0, intervals: vector[], works: table::new(), first_work: 0,
            next_work: 0, void_after_seconds: NEVER,
        }
    }

    package fun operator(self: &Member): address { self.operator }
    package fun is_active(self: &Member): bool { self.active }
    package fun is_void(self: &Member): bool { self.void_after_seconds != NEVER }
    package fun intervals(self: &Member): u64 { self.intervals.length() }

    /// All about the membership.
    package fun view(self: &Member, banned: bool): MemberView {
        MemberView {
            operator: self.operator, active: self.active, void: self.is_void(),
            waiting_works: self.next_work - self.first_work, banned,
        }
    }

    /// What a view says of a node that never joined.
    package fun unknown(banned: bool): MemberView {
        MemberView { operator: @0x0, active: false, void: false, waiting_works: 0, banned }
    }

    /// Begins an interval.
    package fun begin(self: &mut Member, now: u64) {
        self.active = true;
        self.from_seconds = now;
    }

    /// Ends the current interval.
    package fun end(self: &mut Member, now: u64) {
        self.active = false;
        if (self.from_seconds < now) {
            self.intervals.push_back(Interval { from_seconds: self.from_seconds, to_seconds: now });
        };
    }

    /// Adds work and returns its number.
    package fun add_work(self: &mut Member, units: u64, now: u64): u64 {
        let number = self.next_work;
        self.works.add(number, Work::V1 { units, submitted_seconds: now, valid: true });
        self.next_work += 1;
        number
    }

    /// Whether the work still counts, its units, and when it was handed in; all zero once it is taken.
    package fun work(self: &Member, number: u64): (bool, u64, u64) {
        if (!self.works.contains(number)) return (false, 0, 0);
        let work = self.works.borrow(number);
        (work.valid && work.submitted_seconds <= self.void_after_seconds, work.units, work.submitted_seconds)
    }

    /// Makes a work that is not taken count for nothing.
    package fun invalidate(self: &mut Member, number: u64) {
        let works = &mut self.works;
        works.borrow_mut(number).valid = false;
    }

    /// Makes all that was after this moment count for nothing, for ever.
    package fun void_after(self: &mut Member, seconds: u64) {
        if (seconds < self.void_after_seconds) self.void_after_seconds = seconds;
    }

    /// What matured by `until` and is not taken: seconds of activity, none after `active_until`; units of valid work;
    /// and the number of works passed, at most `max_works`, invalid ones included.
    package fun matured(self: &Member, until: u64, active_until: u64, max_works: u64): (u64, u64, u64) {
        let until = smaller(until, self.void_after_seconds);
        let seconds = 0;
        self.intervals.for_each_ref(|interval| {
            let to = smaller(interval.to_seconds, until);
            if (interval.from_seconds < to) seconds += to - interval.from_seconds;
        });
        let to = smaller(until, active_until);
        if (self.active && self.from_seconds < to) seconds += to - self.from_seconds;

        let (units, works) = (0, 0);
        while (works < max_works && self.first_work + works < self.next_work) {
            let work = self.works.borrow(self.first_work + works);
            if (work.submitted_seconds > until) break;
            if (work.valid) units += work.units;
            works += 1;
        };
        (seconds, units, works)
    }

    /// Takes what `matured` says for the same arguments.
    package fun take(self: &mut Member, until: u64, active_until: u64, works: u64) {
        let until = smaller(until, self.void_after_seconds);
        while (!self.intervals.is_empty() && self.intervals[0].to_seconds <= until) {
            self.intervals.remove(0);
        };
        if (!self.intervals.is_empty() && self.intervals[0].from_seconds < until) {
            self.intervals[0].from_seconds = until;
        };
        let to = smaller(until, active_until);
        if (self.active && self.from_seconds < to) self.from_seconds = to;

        let taken = &mut self.works;
        let number = self.first_work;
        self.first_work += works;
        while (number < self.first_work) {
            taken.remove(number);
            number += 1;
        };
    }

    //
    // Helpers
    //

    fun smaller(a: u64, b: u64): u64 {
        if (a < b) a else b
    }

    #[test_only]
    public fun unpack_for_test(self: MemberView): (address, bool, bool, u64, bool) {
        (self.operator, self.active, self.void, self.waiting_works, self.banned)
    }
}
