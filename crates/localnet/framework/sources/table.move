/// Maps whose entries are storage slots of their own, addressed by handle and key.
module aptos_std::table {
    /// A map from `K` to `V`.
    struct Table<phantom K: copy + drop, phantom V> has store {
        handle: address,
    }

    /// How an entry is stored.
    struct Box<V> has key, drop, store {
        val: V
    }

    /// An empty table.
    public fun new<K: copy + drop, V: store>(): Table<K, V> {
        Table { handle: new_table_handle<K, V>() }
    }

    /// Adds an entry. Aborts if there is one for `key`.
    public fun add<K: copy + drop, V>(self: &mut Table<K, V>, key: K, val: V) {
        add_box<K, V, Box<V>>(self, key, Box { val })
    }

    /// The value for `key`. Aborts if there is none.
    public fun borrow<K: copy + drop, V>(self: &Table<K, V>, key: K): &V {
        &borrow_box<K, V, Box<V>>(self, key).val
    }

    /// The value for `key`, or `default`.
    public fun borrow_with_default<K: copy + drop, V>(self: &Table<K, V>, key: K, default: &V): &V {
        if (self.contains(copy key)) self.borrow(key) else default
    }

    /// The value for `key`, mutable. Aborts if there is none.
    public fun borrow_mut<K: copy + drop, V>(self: &mut Table<K, V>, key: K): &mut V {
        &mut borrow_box_mut<K, V, Box<V>>(self, key).val
    }

    /// The value for `key`, mutable; `default` is added first if there is none.
    public fun borrow_mut_with_default<K: copy + drop, V: drop>(self: &mut Table<K, V>, key: K, default: V): &mut V {
        if (!self.contains(copy key)) self.add(copy key, default);
        self.borrow_mut(key)
    }

    /// Sets the value for `key`, whether there was one or not.
    public fun upsert<K: copy + drop, V: drop>(self: &mut Table<K, V>, key: K, value: V) {
        if (self.contains(copy key)) *self.borrow_mut(key) = value
        else self.add(key, value)
    }

    /// Takes the value for `key` out. Aborts if there is none.
    public fun remove<K: copy + drop, V>(self: &mut Table<K, V>, key: K): V {
        let Box { val } = remove_box<K, V, Box<V>>(self, key);
        val
    }

    /// Whether there is a value for `key`.
    public fun contains<K: copy + drop, V>(self: &Table<K, V>, key: K): bool {
        contains_box<K, V, Box<V>>(self, key)
    }

    native fun new_table_handle<K, V>(): address;
    native fun add_box<K: copy + drop, V, B>(table: &mut Table<K, V>, key: K, val: Box<V>);
    native fun borrow_box<K: copy + drop, V, B>(table: &Table<K, V>, key: K): &Box<V>;
    native fun borrow_box_mut<K: copy + drop, V, B>(table: &mut Table<K, V>, key: K): &mut Box<V>;
    native fun contains_box<K: copy + drop, V, B>(table: &Table<K, V>, key: K): bool;
    native fun remove_box<K: copy + drop, V, B>(table: &mut Table<K, V>, key: K): Box<V>;
}
