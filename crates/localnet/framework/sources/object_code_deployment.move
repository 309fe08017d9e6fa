/// Packages that live at the address of an object, so that who owns the object may upgrade them.
module aptos_framework::object_code_deployment {
    use std::bcs;
    use std::error;
    use std::signer;
    use aptos_framework::account;
    use aptos_framework::code::{Self, PackageRegistry};
    use aptos_framework::event;
    use aptos_framework::object::{Self, ExtendRef, Object};

    /// The signer does not own the object.
    const ENOT_CODE_OBJECT_OWNER: u64 = 2;
    /// The object holds no package that was published here.
    const ECODE_OBJECT_DOES_NOT_EXIST: u64 = 3;

    const OBJECT_CODE_DEPLOYMENT_DOMAIN_SEPARATOR: vector<u8> = b"aptos_framework::object_code_deployment";

    /// The right to act as the object, held by the object itself.
    struct ManagingRefs has key {
        extend_ref: ExtendRef,
    }

    #[event]
    struct Publish has drop, store {
        object_address: address,
    }

    #[event]
    struct Upgrade has drop, store {
        object_address: address,
    }

    /// Publishes `code` at the address of a new object of the signer; the address follows from the signer's
    /// sequence number. Aborts as `code::publish_package_txn`.
    public entry fun publish(publisher: &signer, metadata_serialized: vector<u8>, code: vector<vector<u8>>) {
        let seed = object_seed(signer::address_of(publisher));
        let constructor_ref = &object::create_named_object(publisher, seed);
        let code_signer = &object::generate_signer(constructor_ref);
        code::publish_package_txn(code_signer, metadata_serialized, code);
        event::emit(Publish { object_address: signer::address_of(code_signer) });
        move_to(code_signer, ManagingRefs { extend_ref: object::generate_extend_ref(constructor_ref) });
    }

    /// Upgrades the package at an object that the signer owns.
    /// Aborts if the signer does not own it, or as `code::publish_package_txn`.
    public entry fun upgrade(
        publisher: &signer,
        metadata_serialized: vector<u8>,
        code: vector<vector<u8>>,
        code_object: Object<PackageRegistry>,
    ) acquires ManagingRefs {
        assert!(
            object::is_owner(code_object, signer::address_of(publisher)),
            error::permission_denied(ENOT_CODE_OBJECT_OWNER)
        );
        let object_address = code_object.object_address();
        assert!(exists<ManagingRefs>(object_address), error::not_found(ECODE_OBJECT_DOES_NOT_EXIST));
        let extend_ref = &ManagingRefs[object_address].extend_ref;
        let code_signer = &object::generate_signer_for_extending(extend_ref);
        code::publish_package_txn(code_signer, metadata_serialized, code);
        event::emit(Upgrade { object_address });
    }

    fun object_seed(publisher: address): vector<u8> {
        let seed = bcs::to_bytes(&OBJECT_CODE_DEPLOYMENT_DOMAIN_SEPARATOR);
        let sequence_number = account::get_sequence_number(publisher) + 1;
        seed.append(bcs::to_bytes(&sequence_number));
        seed
    }
}
