/// What the conformance suites publish under an account of their own and then call: every kind of
/// argument, result, resource, table, event and abort that a client has to encode or print.
module probe::probe {
    use std::error;
    use std::option::Option;
    use std::signer;
    use std::string::{Self, String};
    use aptos_std::table::{Self, Table};
    use aptos_framework::event;
    use aptos_framework::object::{Self, Object};

    /// The account has no counter yet.
    const ENOT_STARTED: u64 = 1;
    /// The account has a counter already.
    const ESTARTED: u64 = 2;
    /// Only the publisher may do this.
    const ENOT_PUBLISHER: u64 = 3;

    const VERSION: u64 = 1;

    struct Counter has key {
        value: u64,
        notes: Table<u64, String>,
        entries: Table<String, Entry>,
        seen: Table<address, bool>,
    }

    struct Entry has store, copy, drop {
        amount: u64,
        owner: address,
        tags: vector<u8>,
    }

    struct Values has key, copy, drop {
        byte: u8,
        short: u16,
        word: u32,
        long: u64,
        wide: u128,
        widest: u256,
        flag: bool,
        account: address,
        bytes: vector<u8>,
        text: String,
        numbers: vector<u64>,
        texts: vector<String>,
        maybe: Option<u64>,
    }

    struct Holder<T: store> has key {
        item: T,
    }

    enum Shape has copy, drop, store {
        Point,
        Circle { radius: u64 },
        Rectangle { width: u64, height: u64 },
    }

    struct Thing has key {
        shape: Shape,
    }

    #[event]
    struct Counted has drop, store {
        account: address,
        value: u64,
    }

    #[event]
    struct Drawn has drop, store {
        shape: Shape,
        label: Option<String>,
    }

    fun init_module(publisher: &signer) {
        begin(publisher);
    }

    fun begin(account: &signer) {
        assert!(!exists<Counter>(signer::address_of(account)), error::already_exists(ESTARTED));
        move_to(account, Counter { value: 0, notes: table::new(), entries: table::new(), seen: table::new() });
    }

    /// Anyone, once.
    public entry fun start(account: &signer) {
        begin(account);
    }

    /// Counts up. Anyone who started.
    public entry fun add(account: &signer, by: u64) acquires Counter {
        let owner = signer::address_of(account);
        assert!(exists<Counter>(owner), error::not_found(ENOT_STARTED));
        let counter = borrow_global_mut<Counter>(owner);
        counter.value = counter.value + by;
        event::emit(Counted { account: owner, value: counter.value });
    }

    /// Writes a note, over an older one.
    public entry fun note(account: &signer, key: u64, text: String) acquires Counter {
        borrow_global_mut<Counter>(signer::address_of(account)).notes.upsert(key, text);
    }

    /// Removes a note.
    public entry fun forget(account: &signer, key: u64) acquires Counter {
        borrow_global_mut<Counter>(signer::address_of(account)).notes.remove(key);
    }

    /// Writes an entry with a text as key and a structure as value.
    public entry fun enter(account: &signer, name: String, amount: u64, tags: vector<u8>) acquires Counter {
        let owner = signer::address_of(account);
        borrow_global_mut<Counter>(owner).entries.upsert(name, Entry { amount, owner, tags });
    }

    /// Two accounts sign: the second is counted and remembered by the first.
    public entry fun together(first: &signer, second: &signer, by: u64) acquires Counter {
        let counter = borrow_global_mut<Counter>(signer::address_of(first));
        counter.value = counter.value + by;
        counter.seen.upsert(signer::address_of(second), true);
        event::emit(Counted { account: signer::address_of(second), value: counter.value });
    }

    /// Keeps one value of every type.
    public entry fun keep(
        account: &signer, byte: u8, short: u16, word: u32, long: u64, wide: u128, widest: u256, flag: bool,
        owner: address, bytes: vector<u8>, text: String, numbers: vector<u64>, texts: vector<String>,
        maybe: Option<u64>
    ) acquires Values {
        let here = signer::address_of(account);
        let values = Values {
            byte, short, word, long, wide, widest, flag, account: owner, bytes, text, numbers, texts, maybe
        };
        if (exists<Values>(here)) *borrow_global_mut<Values>(here) = values
        else move_to(account, values);
    }

    /// Keeps an item under a type of its own.
    public entry fun hold<T: store>(account: &signer, item: T) {
        let here = signer::address_of(account);
        assert!(!exists<Holder<T>>(here), error::already_exists(ESTARTED));
        move_to(account, Holder { item });
    }

    /// Lets an item go.
    public entry fun release<T: store + drop>(account: &signer) acquires Holder {
        let Holder { item: _ } = move_from<Holder<T>>(signer::address_of(account));
    }

    /// Makes an object with a shape and gives it to the caller.
    public entry fun draw(account: &signer, width: u64, height: u64) {
        let shape = Shape::Rectangle { width, height };
        let made = object::create_named_object(account, b"shape");
        move_to(&object::generate_signer(&made), Thing { shape });
        event::emit(Drawn { shape, label: std::option::some(string::utf8(b"drawn")) });
    }

    /// Aborts with a code of its own.
    public entry fun fail(_account: &signer, code: u64) {
        abort code
    }

    /// Aborts unless the publisher calls.
    public entry fun guarded(account: &signer) {
        assert!(signer::address_of(account) == @probe, error::permission_denied(ENOT_PUBLISHER));
    }

    /// Divides by zero.
    public entry fun divide(_account: &signer, by: u64) {
        let _ = 1 / by;
    }

    /// Never ends.
    public entry fun spin(_account: &signer) {
        loop {}
    }

    /// Not callable by transactions.
    public fun plain(value: u64): u64 { value }

    #[view]
    /// The version of this code.
    public fun version(): u64 { VERSION }

    #[view]
    /// What an account has counted. Aborts if it has not started.
    public fun value(owner: address): u64 acquires Counter {
        assert!(exists<Counter>(owner), error::not_found(ENOT_STARTED));
        borrow_global<Counter>(owner).value
    }

    #[view]
    /// Gives back what it got.
    public fun echo<T: copy + drop>(value: T): T { value }

    #[view]
    /// Two results.
    public fun pair(number: u64, text: String): (String, u64) { (text, number) }

    #[view]
    /// A sum.
    public fun sum(numbers: vector<u64>): u128 {
        let total = 0u128;
        numbers.for_each_ref(|number| total = total + (*number as u128));
        total
    }

    #[view]
    /// Enum values.
    public fun shapes(side: u64): vector<Shape> {
        vector[Shape::Point, Shape::Circle { radius: side }, Shape::Rectangle { width: side, height: side }]
    }

    #[view]
    /// A structure. Aborts if the account keeps none.
    public fun values(owner: address): Values acquires Values { *borrow_global<Values>(owner) }

    #[view]
    /// An object by its address.
    public fun area(thing: Object<Thing>): u64 acquires Thing {
        match (&borrow_global<Thing>(object::object_address(&thing)).shape) {
            Shape::Point => 0,
            Shape::Circle { radius } => 3 * *radius * *radius,
            Shape::Rectangle { width, height } => *width * *height,
        }
    }

    #[view]
    /// Aborts.
    public fun failing(code: u64): u64 { abort code }
}
