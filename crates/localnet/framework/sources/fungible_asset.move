/// Fungible assets: metadata objects, stores that hold balances, and amounts in flight.
module aptos_framework::fungible_asset {
    use std::error;
    use std::option::{Self, Option};
    use std::signer;
    use std::string::String;
    use aptos_framework::event;
    use aptos_framework::object::{Self, ConstructorRef, DeleteRef, Object};

    /// The store is frozen.
    const ESTORE_IS_FROZEN: u64 = 3;
    /// The balance is smaller than the amount.
    const EINSUFFICIENT_BALANCE: u64 = 4;
    /// The supply would exceed its maximum.
    const EMAX_SUPPLY_EXCEEDED: u64 = 5;
    /// The two amounts are of different assets.
    const EFUNGIBLE_ASSET_MISMATCH: u64 = 6;
    /// The caller does not own the store.
    const ENOT_STORE_OWNER: u64 = 8;
    /// The reference and the store are of different assets.
    const EBURN_REF_AND_STORE_MISMATCH: u64 = 10;
    /// The amount and the store are of different assets.
    const EFUNGIBLE_ASSET_AND_STORE_MISMATCH: u64 = 11;
    /// Only an amount of zero can be destroyed.
    const EAMOUNT_IS_NOT_ZERO: u64 = 12;
    /// The reference and the amount are of different assets.
    const EBURN_REF_AND_FUNGIBLE_ASSET_MISMATCH: u64 = 13;
    /// Only an empty store can be removed.
    const EBALANCE_IS_NOT_ZERO: u64 = 14;
    /// The asset's object must be one that stays.
    const EOBJECT_IS_DELETABLE: u64 = 18;
    /// More would be burned than exists.
    const ESUPPLY_UNDERFLOW: u64 = 20;
    /// There is no store at this address.
    const EFUNGIBLE_STORE_EXISTENCE: u64 = 23;

    struct Supply has key {
        current: u128,
        maximum: Option<u128>,
    }

    struct Metadata has key {
        name: String,
        symbol: String,
        decimals: u8,
        icon_uri: String,
        project_uri: String,
    }

    struct FungibleStore has key {
        metadata: Object<Metadata>,
        balance: u64,
        frozen: bool,
    }

    /// Marks an asset whose issuer's code runs in transfers; this framework makes none outside of tests.
    struct DispatchFunctionStore has key {}

    /// An amount in flight; it must end in a store.
    struct FungibleAsset {
        metadata: Object<Metadata>,
        amount: u64,
    }

    struct MintRef has drop, store {
        metadata: Object<Metadata>
    }

    struct BurnRef has drop, store {
        metadata: Object<Metadata>
    }

    #[event]
    struct Deposit has drop, store {
        store: address,
        amount: u64,
    }

    #[event]
    struct Withdraw has drop, store {
        store: address,
        amount: u64,
    }

    #[view]
    public fun supply<T: key>(metadata: Object<T>): Option<u128> acquires Supply {
        let addr = metadata.object_address();
        if (exists<Supply>(addr)) option::some(Supply[addr].current) else option::none()
    }

    #[view]
    public fun maximum<T: key>(metadata: Object<T>): Option<u128> acquires Supply {
        let addr = metadata.object_address();
        if (exists<Supply>(addr)) Supply[addr].maximum else option::none()
    }

    #[view]
    public fun name<T: key>(metadata: Object<T>): String acquires Metadata {
        Metadata[metadata.object_address()].name
    }

    #[view]
    public fun symbol<T: key>(metadata: Object<T>): String acquires Metadata {
        Metadata[metadata.object_address()].symbol
    }

    #[view]
    public fun decimals<T: key>(metadata: Object<T>): u8 acquires Metadata {
        Metadata[metadata.object_address()].decimals
    }

    #[view]
    public fun store_exists(store: address): bool {
        exists<FungibleStore>(store)
    }

    #[view]
    public fun store_metadata<T: key>(store: Object<T>): Object<Metadata> acquires FungibleStore {
        FungibleStore[store_address(&store)].metadata
    }

    #[view]
    /// The balance of `store`; zero if there is no such store.
    public fun balance<T: key>(store: Object<T>): u64 acquires FungibleStore {
        let addr = store.object_address();
        if (store_exists(addr)) FungibleStore[addr].balance else 0
    }

    #[view]
    public fun is_frozen<T: key>(store: Object<T>): bool acquires FungibleStore {
        let addr = store.object_address();
        store_exists(addr) && FungibleStore[addr].frozen
    }

    /// Whether code of the asset's issuer runs when the store is used.
    public fun is_store_dispatchable<T: key>(store: Object<T>): bool acquires FungibleStore {
        exists<DispatchFunctionStore>(store_metadata(store).object_address())
    }

    public fun metadata_from_asset(fa: &FungibleAsset): Object<Metadata> { fa.metadata }
    public fun asset_metadata(fa: &FungibleAsset): Object<Metadata> { fa.metadata }
    public fun mint_ref_metadata(ref: &MintRef): Object<Metadata> { ref.metadata }
    public fun burn_ref_metadata(ref: &BurnRef): Object<Metadata> { ref.metadata }
    public fun amount(fa: &FungibleAsset): u64 { fa.amount }

    /// Makes the object under construction the metadata of a new asset. Aborts if it can be deleted.
    public fun add_fungibility(
        constructor_ref: &ConstructorRef,
        maximum_supply: Option<u128>,
        name: String,
        symbol: String,
        decimals: u8,
        icon_uri: String,
        project_uri: String,
    ): Object<Metadata> {
        assert!(
            !object::can_generate_delete_ref(constructor_ref),
            error::invalid_argument(EOBJECT_IS_DELETABLE)
        );
        let metadata_signer = &object::generate_signer(constructor_ref);
        move_to(metadata_signer, Metadata { name, symbol, decimals, icon_uri, project_uri });
        move_to(metadata_signer, Supply { current: 0, maximum: maximum_supply });
        object::object_from_constructor_ref<Metadata>(constructor_ref)
    }

    public fun generate_mint_ref(constructor_ref: &ConstructorRef): MintRef {
        MintRef { metadata: object::object_from_constructor_ref<Metadata>(constructor_ref) }
    }

    public fun generate_burn_ref(constructor_ref: &ConstructorRef): BurnRef {
        BurnRef { metadata: object::object_from_constructor_ref<Metadata>(constructor_ref) }
    }

    /// Puts an empty store of the asset `metadata` into the object under construction.
    public fun create_store<T: key>(constructor_ref: &ConstructorRef, metadata: Object<T>): Object<FungibleStore> {
        let store_signer = &object::generate_signer(constructor_ref);
        move_to(store_signer, FungibleStore {
            metadata: object::convert(metadata),
            balance: 0,
            frozen: false,
        });
        object::object_from_constructor_ref<FungibleStore>(constructor_ref)
    }

    /// Removes a store. Aborts if it is not empty.
    public fun remove_store(delete_ref: &DeleteRef) acquires FungibleStore {
        let store = object::object_from_delete_ref<FungibleStore>(delete_ref);
        let FungibleStore { metadata: _, balance, frozen: _ } =
            move_from<FungibleStore>(store.object_address());
        assert!(balance == 0, error::permission_denied(EBALANCE_IS_NOT_ZERO));
    }

    /// Moves `amount` between two stores. Aborts as `withdraw` and `deposit` do.
    public entry fun transfer<T: key>(
        sender: &signer, from: Object<T>, to: Object<T>, amount: u64
    ) acquires FungibleStore {
        let fa = withdraw(sender, from, amount);
        deposit(to, fa);
    }

    /// Takes `amount` out of `store`. Aborts unless `owner` owns it, it is not frozen, and it holds that much.
    public fun withdraw<T: key>(owner: &signer, store: Object<T>, amount: u64): FungibleAsset acquires FungibleStore {
        assert!(object::owns(store, signer::address_of(owner)), error::permission_denied(ENOT_STORE_OWNER));
        assert!(!is_frozen(store), error::permission_denied(ESTORE_IS_FROZEN));
        withdraw_unchecked(store.object_address(), amount)
    }

    /// Puts `fa` into `store`. Aborts if it is frozen or of another asset.
    public fun deposit<T: key>(store: Object<T>, fa: FungibleAsset) acquires FungibleStore {
        assert!(!is_frozen(store), error::permission_denied(ESTORE_IS_FROZEN));
        let FungibleAsset { metadata, amount } = fa;
        let addr = store_address(&store);
        let target = &mut FungibleStore[addr];
        assert!(
            metadata == target.metadata,
            error::invalid_argument(EFUNGIBLE_ASSET_AND_STORE_MISMATCH)
        );
        if (amount == 0) return;
        target.balance += amount;
        event::emit(Deposit { store: addr, amount });
    }

    fun withdraw_unchecked(store: address, amount: u64): FungibleAsset acquires FungibleStore {
        assert!(store_exists(store), error::not_found(EFUNGIBLE_STORE_EXISTENCE));
        let source = &mut FungibleStore[store];
        assert!(source.balance >= amount, error::invalid_argument(EINSUFFICIENT_BALANCE));
        source.balance -= amount;
        let metadata = source.metadata;
        if (amount != 0) event::emit(Withdraw { store, amount });
        FungibleAsset { metadata, amount }
    }

    fun store_address<T: key>(store: &Object<T>): address {
        let addr = store.object_address();
        assert!(exists<FungibleStore>(addr), error::not_found(EFUNGIBLE_STORE_EXISTENCE));
        addr
    }

    /// Creates `amount` of the asset. Aborts if the maximum supply would be exceeded.
    public fun mint(ref: &MintRef, amount: u64): FungibleAsset acquires Supply {
        let supply = &mut Supply[ref.metadata.object_address()];
        if (supply.maximum.is_some()) {
            assert!(
                *supply.maximum.borrow() - supply.current >= (amount as u128),
                error::out_of_range(EMAX_SUPPLY_EXCEEDED)
            );
        };
        supply.current += (amount as u128);
        FungibleAsset { metadata: ref.metadata, amount }
    }

    /// Creates `amount` of the asset in `store`.
    public fun mint_to<T: key>(ref: &MintRef, store: Object<T>, amount: u64) acquires FungibleStore, Supply {
        deposit(store, mint(ref, amount));
    }

    /// Destroys `fa`. Aborts if it is of another asset.
    public fun burn(ref: &BurnRef, fa: FungibleAsset) acquires Supply {
        let FungibleAsset { metadata, amount } = fa;
        assert!(ref.metadata == metadata, error::invalid_argument(EBURN_REF_AND_FUNGIBLE_ASSET_MISMATCH));
        let supply = &mut Supply[metadata.object_address()];
        assert!(supply.current >= (amount as u128), error::invalid_state(ESUPPLY_UNDERFLOW));
        supply.current -= (amount as u128);
    }

    /// Destroys `amount` out of `store`, whoever owns it.
    public fun burn_from<T: key>(ref: &BurnRef, store: Object<T>, amount: u64) acquires FungibleStore, Supply {
        assert!(
            ref.metadata == store_metadata(store),
            error::invalid_argument(EBURN_REF_AND_STORE_MISMATCH)
        );
        burn(ref, withdraw_unchecked(store.object_address(), amount));
    }

    /// An amount of zero.
    public fun zero<T: key>(metadata: Object<T>): FungibleAsset {
        FungibleAsset { metadata: object::convert(metadata), amount: 0 }
    }

    /// Splits `amount` off. Aborts if there is less.
    public fun extract(fungible_asset: &mut FungibleAsset, amount: u64): FungibleAsset {
        assert!(fungible_asset.amount >= amount, error::invalid_argument(EINSUFFICIENT_BALANCE));
        fungible_asset.amount -= amount;
        FungibleAsset { metadata: fungible_asset.metadata, amount }
    }

    /// Adds the second amount to the first. Aborts if they are of different assets.
    public fun merge(dst_fungible_asset: &mut FungibleAsset, src_fungible_asset: FungibleAsset) {
        let FungibleAsset { metadata, amount } = src_fungible_asset;
        assert!(
            metadata == dst_fungible_asset.metadata,
            error::invalid_argument(EFUNGIBLE_ASSET_MISMATCH)
        );
        dst_fungible_asset.amount += amount;
    }

    /// Destroys an amount of zero. Aborts if it is not zero.
    public fun destroy_zero(fungible_asset: FungibleAsset) {
        let FungibleAsset { amount, metadata: _ } = fungible_asset;
        assert!(amount == 0, error::invalid_argument(EAMOUNT_IS_NOT_ZERO));
    }

    #[test_only]
    public fun make_dispatchable_for_test(constructor_ref: &ConstructorRef) {
        move_to(&object::generate_signer(constructor_ref), DispatchFunctionStore {});
    }
}
