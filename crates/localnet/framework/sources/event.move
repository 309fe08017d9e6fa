/// Events of transactions.
module aptos_framework::event {
    /// Emits `msg`.
    public fun emit<T: store + drop>(msg: T) {
        emit_event(&msg)
    }

    native fun emit_event<T: drop + store>(msg: &T);
}
