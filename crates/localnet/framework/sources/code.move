/// Publishing packages of modules.
module aptos_framework::code {
    use std::error;
    use std::option::Option;
    use std::signer;
    use std::string::String;
    use aptos_std::copyable_any::Any;
    use aptos_std::from_bcs;
    use aptos_framework::event;

    /// Another package at this address has a module of the same name.
    const EMODULE_NAME_CLASH: u64 = 0x1;
    /// The package is immutable.
    const EUPGRADE_IMMUTABLE: u64 = 0x2;
    /// An upgrade may not weaken the upgrade policy.
    const EUPGRADE_WEAKER_POLICY: u64 = 0x3;
    /// An upgrade may not leave out a module.
    const EMODULE_MISSING: u64 = 0x4;
    /// Packages without compatibility checks are not accepted.
    const EINCOMPATIBLE_POLICY_DISABLED: u64 = 0x8;

    const POLICY_ARBITRARY: u8 = 0;
    const POLICY_IMMUTABLE: u8 = 2;

    struct PackageRegistry has key, store, drop {
        packages: vector<PackageMetadata>,
    }

    struct PackageMetadata has copy, drop, store {
        name: String,
        upgrade_policy: UpgradePolicy,
        upgrade_number: u64,
        source_digest: String,
        manifest: vector<u8>,
        modules: vector<ModuleMetadata>,
        deps: vector<PackageDep>,
        extension: Option<Any>,
    }

    struct PackageDep has store, drop, copy {
        account: address,
        package_name: String,
    }

    struct ModuleMetadata has store, drop, copy {
        name: String,
        source: vector<u8>,
        source_map: vector<u8>,
        extension: Option<Any>,
    }

    /// 1: upgrades must be compatible; 2: no upgrades.
    struct UpgradePolicy has store, copy, drop {
        policy: u8
    }

    #[event]
    struct PublishPackage has drop, store {
        code_address: address,
        is_upgrade: bool,
    }

    /// Publishes `code` under the signer's address with metadata in canonical bytes.
    /// Aborts if the package may not be published or upgraded so.
    public entry fun publish_package_txn(
        owner: &signer, metadata_serialized: vector<u8>, code: vector<vector<u8>>
    ) acquires PackageRegistry {
        publish_package(owner, from_bcs::from_bytes<PackageMetadata>(metadata_serialized), code)
    }

    /// As `publish_package_txn`.
    public fun publish_package(
        owner: &signer, pack: PackageMetadata, code: vector<vector<u8>>
    ) acquires PackageRegistry {
        let addr = signer::address_of(owner);
        assert!(
            pack.upgrade_policy.policy > POLICY_ARBITRARY,
            error::invalid_argument(EINCOMPATIBLE_POLICY_DISABLED)
        );
        if (!exists<PackageRegistry>(addr)) move_to(owner, PackageRegistry { packages: vector[] });

        let names = module_names(&pack);
        let policy = pack.upgrade_policy.policy;
        let packages = &mut PackageRegistry[addr].packages;
        let count = packages.length();
        let index = count;
        let i = 0;
        while (i < count) {
            let old = packages.borrow(i);
            if (old.name == pack.name) {
                check_upgradability(old, &pack, &names);
                pack.upgrade_number = old.upgrade_number + 1;
                index = i;
            } else check_coexistence(old, &names);
            i += 1;
        };

        if (index < count) *packages.borrow_mut(index) = pack
        else packages.push_back(pack);
        event::emit(PublishPackage { code_address: addr, is_upgrade: index < count });
        request_publish(addr, names, code, policy)
    }

    fun check_upgradability(old: &PackageMetadata, new: &PackageMetadata, new_modules: &vector<String>) {
        assert!(
            old.upgrade_policy.policy < POLICY_IMMUTABLE,
            error::invalid_argument(EUPGRADE_IMMUTABLE)
        );
        assert!(
            old.upgrade_policy.policy <= new.upgrade_policy.policy,
            error::invalid_argument(EUPGRADE_WEAKER_POLICY)
        );
        module_names(old).for_each_ref(|name| assert!(new_modules.contains(name), EMODULE_MISSING));
    }

    fun check_coexistence(old: &PackageMetadata, new_modules: &vector<String>) {
        old.modules.for_each_ref(|module_metadata| assert!(
            !new_modules.contains(&module_metadata.name),
            error::already_exists(EMODULE_NAME_CLASH)
        ));
    }

    fun module_names(pack: &PackageMetadata): vector<String> {
        let names = vector[];
        pack.modules.for_each_ref(|module_metadata| names.push_back(module_metadata.name));
        names
    }

    // The chain publishes the bundle when the transaction succeeds.
    native fun request_publish(
        owner: address, expected_modules: vector<String>, bundle: vector<vector<u8>>, policy: u8
    );
}
