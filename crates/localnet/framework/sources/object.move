/// Objects: addresses that hold resources and have an owner.
module aptos_framework::object {
    use std::bcs;
    use std::error;
    use std::hash;
    use std::signer;
    use aptos_std::from_bcs;
    use aptos_framework::account;
    use aptos_framework::event;
    use aptos_framework::transaction_context;

    friend aptos_framework::genesis;
    friend aptos_framework::primary_fungible_store;

    /// An object exists already at this address.
    const EOBJECT_EXISTS: u64 = 1;
    /// There is no object at this address.
    const EOBJECT_DOES_NOT_EXIST: u64 = 2;
    /// The object may not be transferred by its owner.
    const ENO_UNGATED_TRANSFERS: u64 = 3;
    /// The caller does not own the object.
    const ENOT_OBJECT_OWNER: u64 = 4;
    /// The object may not be deleted.
    const ECANNOT_DELETE: u64 = 5;
    /// Ownership is nested too deeply.
    const EMAXIMUM_NESTING: u64 = 6;
    /// The object holds no such resource.
    const ERESOURCE_DOES_NOT_EXIST: u64 = 7;

    // Keeps object and account event numbers apart, as on Aptos.
    const INIT_GUID_CREATION_NUM: u64 = 0x4000000000000;
    const MAXIMUM_OBJECT_NESTING: u8 = 8;
    const OBJECT_DERIVED_SCHEME: u8 = 0xFC;
    const OBJECT_FROM_SEED_ADDRESS_SCHEME: u8 = 0xFE;

    struct ObjectCore has key {
        guid_creation_num: u64,
        owner: address,
        allow_ungated_transfer: bool,
    }

    /// A pointer to an object that held a `T` when it was made.
    struct Object<phantom T> has copy, drop, store {
        inner: address,
    }

    /// The right to set an object up, given once at its creation.
    struct ConstructorRef has drop {
        self: address,
        can_delete: bool,
    }

    /// The right to delete an object.
    struct DeleteRef has drop, store {
        self: address,
    }

    /// The right to act as an object.
    struct ExtendRef has drop, store {
        self: address,
    }

    /// The right to move an object between owners.
    struct TransferRef has drop, store {
        self: address,
    }

    /// The right to derive objects from an object.
    struct DeriveRef has drop, store {
        self: address,
    }

    #[event]
    struct Transfer has drop, store {
        object: address,
        from: address,
        to: address,
    }

    public fun is_object(object: address): bool {
        exists<ObjectCore>(object)
    }

    public fun object_exists<T: key>(object: address): bool {
        exists<ObjectCore>(object) && exists_at<T>(object)
    }

    /// Aborts if there is no object with a `T` at the address.
    public fun address_to_object<T: key>(object: address): Object<T> {
        assert!(exists<ObjectCore>(object), error::not_found(EOBJECT_DOES_NOT_EXIST));
        assert!(exists_at<T>(object), error::not_found(ERESOURCE_DOES_NOT_EXIST));
        Object { inner: object }
    }

    /// The address of the object that `source` creates from `seed`.
    public fun create_object_address(source: &address, seed: vector<u8>): address {
        let bytes = bcs::to_bytes(source);
        bytes.append(seed);
        bytes.push_back(OBJECT_FROM_SEED_ADDRESS_SCHEME);
        from_bcs::to_address(hash::sha3_256(bytes))
    }

    /// The address of the object of `source` that is derived from the object at `derive_from`.
    public fun create_user_derived_object_address(source: address, derive_from: address): address {
        let bytes = bcs::to_bytes(&source);
        bytes.append(bcs::to_bytes(&derive_from));
        bytes.push_back(OBJECT_DERIVED_SCHEME);
        from_bcs::to_address(hash::sha3_256(bytes))
    }

    public fun object_address<T: key>(self: &Object<T>): address {
        self.inner
    }

    /// Aborts if the object holds no `Y`.
    public fun convert<X: key, Y: key>(self: Object<X>): Object<Y> {
        address_to_object<Y>(self.inner)
    }

    /// Creates the object of `creator` named `seed`; it can never be deleted. Aborts if it exists.
    public fun create_named_object(creator: &signer, seed: vector<u8>): ConstructorRef {
        let owner = signer::address_of(creator);
        create_object_internal(owner, create_object_address(&owner, seed), false)
    }

    /// Creates an object at a fresh address, owned by `owner_address`.
    public fun create_object(owner_address: address): ConstructorRef {
        create_object_internal(owner_address, transaction_context::generate_auid_address(), true)
    }

    /// Creates an object at a fresh address that can never be deleted.
    public fun create_sticky_object(owner_address: address): ConstructorRef {
        create_object_internal(owner_address, transaction_context::generate_auid_address(), false)
    }

    public(friend) fun create_user_derived_object(creator_address: address, derive_ref: &DeriveRef): ConstructorRef {
        let object = create_user_derived_object_address(creator_address, derive_ref.self);
        create_object_internal(creator_address, object, false)
    }

    public(friend) fun create_sticky_object_at_address(owner_address: address, object_address: address): ConstructorRef {
        create_object_internal(owner_address, object_address, false)
    }

    fun create_object_internal(owner: address, object: address, can_delete: bool): ConstructorRef {
        assert!(!exists<ObjectCore>(object), error::already_exists(EOBJECT_EXISTS));
        let object_signer = account::create_signer(object);
        move_to(&object_signer, ObjectCore {
            guid_creation_num: INIT_GUID_CREATION_NUM,
            owner,
            allow_ungated_transfer: true,
        });
        ConstructorRef { self: object, can_delete }
    }

    /// Aborts if the object was created to stay.
    public fun generate_delete_ref(ref: &ConstructorRef): DeleteRef {
        assert!(ref.can_delete, error::permission_denied(ECANNOT_DELETE));
        DeleteRef { self: ref.self }
    }

    public fun generate_extend_ref(ref: &ConstructorRef): ExtendRef { ExtendRef { self: ref.self } }
    public fun generate_transfer_ref(ref: &ConstructorRef): TransferRef { TransferRef { self: ref.self } }
    public fun generate_derive_ref(ref: &ConstructorRef): DeriveRef { DeriveRef { self: ref.self } }
    public fun generate_signer(ref: &ConstructorRef): signer { account::create_signer(ref.self) }
    public fun generate_signer_for_extending(ref: &ExtendRef): signer { account::create_signer(ref.self) }
    public fun address_from_constructor_ref(ref: &ConstructorRef): address { ref.self }
    public fun address_from_extend_ref(ref: &ExtendRef): address { ref.self }
    public fun address_from_delete_ref(ref: &DeleteRef): address { ref.self }
    public fun can_generate_delete_ref(ref: &ConstructorRef): bool { ref.can_delete }

    public fun object_from_constructor_ref<T: key>(ref: &ConstructorRef): Object<T> {
        address_to_object<T>(ref.self)
    }

    public fun object_from_delete_ref<T: key>(ref: &DeleteRef): Object<T> {
        address_to_object<T>(ref.self)
    }

    /// Removes the object's core; its other resources are the creator's to remove.
    public fun delete(ref: DeleteRef) acquires ObjectCore {
        let ObjectCore { guid_creation_num: _, owner: _, allow_ungated_transfer: _ } =
            move_from<ObjectCore>(ref.self);
    }

    public fun disable_ungated_transfer(ref: &TransferRef) acquires ObjectCore {
        ObjectCore[ref.self].allow_ungated_transfer = false;
    }

    /// Moves `object` to `to`. Aborts unless `owner` owns it and it may be transferred.
    public entry fun transfer<T: key>(owner: &signer, object: Object<T>, to: address) acquires ObjectCore {
        transfer_raw(owner, object.inner, to)
    }

    /// As `transfer`, by address, for callers who do not know what the object holds.
    public entry fun transfer_call(owner: &signer, object: address, to: address) acquires ObjectCore {
        transfer_raw(owner, object, to)
    }

    /// As `transfer`, by address.
    public fun transfer_raw(owner: &signer, object: address, to: address) acquires ObjectCore {
        verify_ungated_and_descendant(signer::address_of(owner), object);
        let core = &mut ObjectCore[object];
        if (core.owner == to) return;
        let from = core.owner;
        core.owner = to;
        event::emit(Transfer { object, from, to });
    }

    // Ownership is transitive: an object's owner also owns what that object owns.
    fun verify_ungated_and_descendant(owner: address, destination: address) acquires ObjectCore {
        let current = destination;
        assert!(exists<ObjectCore>(current), error::not_found(EOBJECT_DOES_NOT_EXIST));
        let count = 0;
        loop {
            let core = &ObjectCore[current];
            assert!(core.allow_ungated_transfer, error::permission_denied(ENO_UNGATED_TRANSFERS));
            current = core.owner;
            if (owner == current) return;
            count += 1;
            assert!(count < MAXIMUM_OBJECT_NESTING, error::out_of_range(EMAXIMUM_NESTING));
            assert!(exists<ObjectCore>(current), error::permission_denied(ENOT_OBJECT_OWNER));
        }
    }

    #[view]
    /// Aborts if the object does not exist.
    public fun owner<T: key>(self: Object<T>): address acquires ObjectCore {
        assert!(exists<ObjectCore>(self.inner), error::not_found(EOBJECT_DOES_NOT_EXIST));
        ObjectCore[self.inner].owner
    }

    #[view]
    public fun is_owner<T: key>(object: Object<T>, owner: address): bool acquires ObjectCore {
        owner(object) == owner
    }

    #[view]
    /// Whether `owner` owns the object, directly or through other objects.
    public fun owns<T: key>(object: Object<T>, owner: address): bool acquires ObjectCore {
        let current = object.inner;
        if (current == owner) return true;
        assert!(exists<ObjectCore>(current), error::not_found(EOBJECT_DOES_NOT_EXIST));
        current = ObjectCore[current].owner;
        let count = 0;
        while (owner != current) {
            count += 1;
            assert!(count < MAXIMUM_OBJECT_NESTING, error::out_of_range(EMAXIMUM_NESTING));
            if (!exists<ObjectCore>(current)) return false;
            current = ObjectCore[current].owner;
        };
        true
    }

    native fun exists_at<T: key>(object: address): bool;
}
