/// Growable arrays. The first group are instructions of the virtual machine.
module std::vector {
    /// The index into the vector is out of bounds.
    const EINDEX_OUT_OF_BOUNDS: u64 = 0x20000;

    #[bytecode_instruction]
    /// An empty vector.
    native public fun empty<Element>(): vector<Element>;

    #[bytecode_instruction]
    /// The number of elements.
    native public fun length<Element>(self: &vector<Element>): u64;

    #[bytecode_instruction]
    /// The `i`th element. Aborts if `i` is out of bounds.
    native public fun borrow<Element>(self: &vector<Element>, i: u64): &Element;

    #[bytecode_instruction]
    /// Adds `e` at the end.
    native public fun push_back<Element>(self: &mut vector<Element>, e: Element);

    #[bytecode_instruction]
    /// The `i`th element, mutable. Aborts if `i` is out of bounds.
    native public fun borrow_mut<Element>(self: &mut vector<Element>, i: u64): &mut Element;

    #[bytecode_instruction]
    /// Takes the last element. Aborts if there is none.
    native public fun pop_back<Element>(self: &mut vector<Element>): Element;

    #[bytecode_instruction]
    /// Destroys an empty vector. Aborts if it is not empty.
    native public fun destroy_empty<Element>(self: vector<Element>);

    #[bytecode_instruction]
    /// Swaps two elements. Aborts if an index is out of bounds.
    native public fun swap<Element>(self: &mut vector<Element>, i: u64, j: u64);

    /// A vector of the one element `e`.
    public fun singleton<Element>(e: Element): vector<Element> {
        let result = empty();
        result.push_back(e);
        result
    }

    /// Whether there are no elements.
    public fun is_empty<Element>(self: &vector<Element>): bool {
        self.length() == 0
    }

    /// Whether some element equals `e`.
    public fun contains<Element>(self: &vector<Element>, e: &Element): bool {
        let (found, _) = self.index_of(e);
        found
    }

    /// `(true, i)` for the first `i` with an element equal to `e`, else `(false, 0)`.
    public fun index_of<Element>(self: &vector<Element>, e: &Element): (bool, u64) {
        let i = 0;
        let length = self.length();
        while (i < length) {
            if (self.borrow(i) == e) return (true, i);
            i += 1;
        };
        (false, 0)
    }

    /// Reverses the order in place.
    public fun reverse<Element>(self: &mut vector<Element>) {
        let length = self.length();
        self.reverse_slice(0, length);
    }

    /// Reverses the elements from `left` up to, not including, `right`.
    public fun reverse_slice<Element>(self: &mut vector<Element>, left: u64, right: u64) {
        assert!(left <= right && right <= self.length(), EINDEX_OUT_OF_BOUNDS);
        while (left + 1 < right) {
            right -= 1;
            self.swap(left, right);
            left += 1;
        };
    }

    /// Moves all elements of `other` to the end.
    public fun append<Element>(self: &mut vector<Element>, other: vector<Element>) {
        other.reverse();
        while (!other.is_empty()) self.push_back(other.pop_back());
        other.destroy_empty();
    }

    /// Puts `e` at index `i`, shifting what follows. Aborts if `i` is past the end.
    public fun insert<Element>(self: &mut vector<Element>, i: u64, e: Element) {
        let length = self.length();
        assert!(i <= length, EINDEX_OUT_OF_BOUNDS);
        self.push_back(e);
        while (i < length) {
            self.swap(i, length);
            i += 1;
        };
    }

    /// Takes the `i`th element, keeping the order of the rest. Aborts if `i` is out of bounds.
    public fun remove<Element>(self: &mut vector<Element>, i: u64): Element {
        let length = self.length();
        if (i >= length) abort EINDEX_OUT_OF_BOUNDS;
        while (i + 1 < length) {
            self.swap(i, i + 1);
            i += 1;
        };
        self.pop_back()
    }

    /// Takes the `i`th element and puts the last one in its place. Aborts if `i` is out of bounds.
    public fun swap_remove<Element>(self: &mut vector<Element>, i: u64): Element {
        let length = self.length();
        assert!(length != 0 && i < length, EINDEX_OUT_OF_BOUNDS);
        self.swap(i, length - 1);
        self.pop_back()
    }

    /// Calls `f` with a reference to each element in order.
    public inline fun for_each_ref<Element>(self: &vector<Element>, f: |&Element|) {
        let i = 0;
        let length = self.length();
        while (i < length) {
            f(self.borrow(i));
            i += 1;
        };
    }
}
