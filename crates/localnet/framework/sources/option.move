/// A value that may be absent.
module std::option {
    use std::vector;

    /// The option holds a value where none was expected.
    const EOPTION_IS_SET: u64 = 0x40000;
    /// The option holds no value where one was expected.
    const EOPTION_NOT_SET: u64 = 0x40001;

    /// Zero or one values.
    struct Option<Element> has copy, drop, store {
        vec: vector<Element>
    }

    /// No value.
    public fun none<Element>(): Option<Element> {
        Option { vec: vector::empty() }
    }

    /// The value `e`.
    public fun some<Element>(e: Element): Option<Element> {
        Option { vec: vector::singleton(e) }
    }

    /// Whether there is no value.
    public fun is_none<Element>(self: &Option<Element>): bool {
        self.vec.is_empty()
    }

    /// Whether there is a value.
    public fun is_some<Element>(self: &Option<Element>): bool {
        !self.vec.is_empty()
    }

    /// Whether the value equals `e`.
    public fun contains<Element>(self: &Option<Element>, e: &Element): bool {
        self.vec.contains(e)
    }

    /// The value. Aborts if there is none.
    public fun borrow<Element>(self: &Option<Element>): &Element {
        assert!(self.is_some(), EOPTION_NOT_SET);
        self.vec.borrow(0)
    }

    /// The value, mutable. Aborts if there is none.
    public fun borrow_mut<Element>(self: &mut Option<Element>): &mut Element {
        assert!(self.is_some(), EOPTION_NOT_SET);
        self.vec.borrow_mut(0)
    }

    /// Puts in `e`. Aborts if there is a value already.
    public fun fill<Element>(self: &mut Option<Element>, e: Element) {
        assert!(self.is_none(), EOPTION_IS_SET);
        self.vec.push_back(e);
    }

    /// Takes the value out. Aborts if there is none.
    public fun extract<Element>(self: &mut Option<Element>): Element {
        assert!(self.is_some(), EOPTION_NOT_SET);
        self.vec.pop_back()
    }

    /// The value, or `default_value`.
    public fun destroy_with_default<Element: drop>(self: Option<Element>, default_value: Element): Element {
        if (self.is_some()) self.extract() else default_value
    }

    /// The value, consuming the option. Aborts if there is none.
    public fun destroy_some<Element>(self: Option<Element>): Element {
        assert!(self.is_some(), EOPTION_NOT_SET);
        let Option { vec } = self;
        let e = vec.pop_back();
        vec.destroy_empty();
        e
    }

    /// Consumes an empty option. Aborts if there is a value.
    public fun destroy_none<Element>(self: Option<Element>) {
        assert!(self.is_none(), EOPTION_IS_SET);
        let Option { vec } = self;
        vec.destroy_empty()
    }
}
