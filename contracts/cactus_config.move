/// Who may do what, what is stopped, and which assets vaults may hold; the way to the parameters. Holds no money.
///
/// Parameters change only within fixed bounds and after a delay that everyone can watch. A pause stops new
/// obligations and never an exit: withdrawals, unbonding, settlements and refunds know no pause.
module cactus::config {
    use std::error;
    use std::option::{Self, Option};
    use std::signer;
    use std::string::String;
    use aptos_framework::event;
    use aptos_framework::fungible_asset::{Self, Metadata};
    use aptos_framework::object;
    use cactus::parameters;

    //
    // Errors
    //

    /// The caller is not the admin.
    const ENOT_ADMIN: u64 = 1;
    /// The caller is not the proposed admin.
    const ENOT_PROPOSED_ADMIN: u64 = 2;
    /// The pause mask has a bit that means nothing.
    const EUNKNOWN_PAUSE_BIT: u64 = 3;
    /// This operation is paused.
    const EPAUSED: u64 = 4;
    /// There are too many validators already.
    const ETOO_MANY_VALIDATORS: u64 = 5;
    /// The caller is not a validator.
    const ENOT_VALIDATOR: u64 = 6;
    /// There are too many federators already.
    const ETOO_MANY_FEDERATORS: u64 = 7;
    /// The caller is not a federator.
    const ENOT_FEDERATOR: u64 = 8;
    /// There are too many allowed assets already.
    const ETOO_MANY_ASSETS: u64 = 9;
    /// Code of the asset's issuer would run in payments.
    const EDISPATCHABLE: u64 = 10;
    /// APT is always allowed.
    const EAPT_STAYS: u64 = 11;

    //
    // Constants
    //

    /// Pause bit: clients' deposits.
    const PAUSE_DEPOSIT: u64 = 1;
    /// Pause bit: new tasks.
    const PAUSE_CREATE_TASK: u64 = 2;
    /// Pause bit: registrations of servers, orchestrators and nodes.
    const PAUSE_REGISTER: u64 = 4;
    /// Pause bit: new bonds.
    const PAUSE_BOND: u64 = 8;
    /// Pause bit: new channels, and more money or time for those there are.
    const PAUSE_CHANNEL: u64 = 16;
    /// Pause bit: new domains and pools, joining pools and funding them.
    const PAUSE_POOL: u64 = 32;
    const PAUSE_ALL: u64 = 63;

    const MAX_VALIDATORS: u64 = 64;
    const MAX_FEDERATORS: u64 = 64;

    const MAX_ASSETS: u64 = 32;
    /// APT as a fungible asset.
    const APT: address = @0xa;

    //
    // Structs
    //

    /// Who may do what. At the contract's address.
    enum Roles has key {
        V1 {
            admin: address,
            proposed_admin: Option<address>,
            validators: vector<address>,
            federators: vector<address>,
        }
    }

    /// What is stopped. Read by every task, written only by the admin. At the contract's address.
    enum Pauses has key {
        V1 { mask: u64 }
    }

    /// Assets that vaults may hold. At the contract's address.
    enum Assets has key {
        V1 { allowed: vector<address> }
    }

    //
    // Events
    //

    #[event]
    enum AdminProposed has drop, store {
        V1 { admin: address, proposed_admin: address }
    }

    #[event]
    enum AdminChanged has drop, store {
        V1 { old_admin: address, new_admin: address }
    }

    #[event]
    enum ValidatorSet has drop, store {
        V1 { validator: address, allowed: bool }
    }

    #[event]
    enum FederatorSet has drop, store {
        V1 { federator: address, allowed: bool }
    }

    #[event]
    enum AssetSet has drop, store {
        V1 { asset: address, allowed: bool }
    }

    #[event]
    enum PauseChanged has drop, store {
        V1 { old_mask: u64, new_mask: u64 }
    }

    //
    // Views
    //

    #[view]
    /// The admin's address.
    public fun admin(): address acquires Roles {
        Roles[@cactus].admin
    }

    #[view]
    /// The parameter's value. Aborts if there is no such parameter.
    public fun param(name: String): u64 { parameters::of(&name) }

    #[view]
    /// Whether `account` may whitelist, validate and slash.
    public fun is_validator(account: address): bool acquires Roles {
        Roles[@cactus].validators.contains(&account)
    }

    #[view]
    /// Whether `account` may create domains.
    public fun is_federator(account: address): bool acquires Roles {
        Roles[@cactus].federators.contains(&account)
    }

    #[view]
    /// The pause mask: 1 deposits, 2 new tasks, 4 registrations, 8 bonds, 16 channels, 32 pools.
    public fun paused(): u64 acquires Pauses { Pauses[@cactus].mask }

    #[view]
    /// Whether vaults may hold the asset of this metadata.
    public fun is_allowed_asset(asset: address): bool acquires Assets { Assets[@cactus].allowed.contains(&asset) }

    //
    // Entry functions
    //

    // The publishing account becomes admin, first validator and first federator; nothing is paused; APT is allowed.
    fun init_module(publisher: &signer) {
        let admin = signer::address_of(publisher);
        move_to(publisher, Roles::V1 {
            admin,
            proposed_admin: option::none(),
            validators: vector[admin],
            federators: vector[admin],
        });
        move_to(publisher, Pauses::V1 { mask: 0 });
        move_to(publisher, Assets::V1 { allowed: vector[APT] });
    }

    /// The admin proposes its successor, replacing an earlier proposal.
    ///
    /// Aborts if the caller is not the admin.
    public entry fun propose_admin(admin: &signer, new_admin: address) acquires Roles {
        assert_admin(admin);
        Roles[@cactus].proposed_admin = option::some(new_admin);
        event::emit(AdminProposed::V1 { admin: signer::address_of(admin), proposed_admin: new_admin });
    }

    /// The proposed admin takes over; a mistyped successor can therefore never lock the role.
    ///
    /// Aborts if the caller is not the one proposed.
    public entry fun accept_admin(new_admin: &signer) acquires Roles {
        let new_admin = signer::address_of(new_admin);
        let roles = &mut Roles[@cactus];
        assert!(
            roles.proposed_admin == option::some(new_admin),
            error::permission_denied(ENOT_PROPOSED_ADMIN)
        );
        let old_admin = roles.admin;
        roles.admin = new_admin;
        roles.proposed_admin = option::none();
        event::emit(AdminChanged::V1 { old_admin, new_admin });
    }

    /// The admin allows or forbids `validator`. Saying the same twice changes nothing.
    ///
    /// Aborts if the caller is not the admin, or if there are 64 validators already.
    public entry fun set_validator(admin: &signer, validator: address, allowed: bool) acquires Roles {
        assert_admin(admin);
        let validators = &mut Roles[@cactus].validators;
        if (validators.contains(&validator) == allowed) return;
        assert!(
            !allowed || validators.length() < MAX_VALIDATORS,
            error::resource_exhausted(ETOO_MANY_VALIDATORS)
        );
        set_member(validators, validator, allowed);
        event::emit(ValidatorSet::V1 { validator, allowed });
    }

    /// The admin lets `federator` create and update domains, or no more. Saying the same twice changes nothing.
    ///
    /// Aborts if the caller is not the admin, or if there are 64 federators already.
    public entry fun set_federator(admin: &signer, federator: address, allowed: bool) acquires Roles {
        assert_admin(admin);
        let federators = &mut Roles[@cactus].federators;
        if (federators.contains(&federator) == allowed) return;
        assert!(
            !allowed || federators.length() < MAX_FEDERATORS,
            error::resource_exhausted(ETOO_MANY_FEDERATORS)
        );
        set_member(federators, federator, allowed);
        event::emit(FederatorSet::V1 { federator, allowed });
    }

    /// The admin announces a change of a parameter; an earlier announcement for it is replaced and the delay
    /// starts anew.
    ///
    /// Aborts if the caller is not the admin, there is no such parameter, or the value is out of its bounds.
    public entry fun queue_param(admin: &signer, name: String, value: u64) acquires Roles {
        assert_admin(admin);
        parameters::queue(name, value);
    }

    /// Anyone applies an announced change once its delay is over.
    ///
    /// Aborts if there is no such parameter, no change of it is announced, or the delay is not over.
    public entry fun apply_param(name: String) {
        parameters::apply(name);
    }

    /// The admin lets vaults hold one more asset, named by the address of its metadata. Saying it twice changes nothing.
    /// Balances, stakes and fees stay in APT; channels and reward funds may be in any allowed asset.
    ///
    /// Aborts if the caller is not the admin, there is no such asset, code of its issuer would run in payments
    /// (a dispatchable asset), or there are 32 assets already.
    public entry fun allow_asset(admin: &signer, asset: address) acquires Roles, Assets {
        assert_admin(admin);
        let allowed = &mut Assets[@cactus].allowed;
        if (allowed.contains(&asset)) return;
        assert!(allowed.length() < MAX_ASSETS, error::resource_exhausted(ETOO_MANY_ASSETS));
        assert_not_dispatchable(asset);
        set_member(allowed, asset, true);
        event::emit(AssetSet::V1 { asset, allowed: true });
    }

    /// The admin lets no more vaults be opened for an asset. Vaults that hold it go on and pay it out. Saying it twice
    /// changes nothing.
    ///
    /// Aborts if the caller is not the admin or the asset is APT, in which everything else is counted.
    public entry fun disallow_asset(admin: &signer, asset: address) acquires Roles, Assets {
        assert_admin(admin);
        assert!(asset != APT, error::invalid_argument(EAPT_STAYS));
        let allowed = &mut Assets[@cactus].allowed;
        if (!allowed.contains(&asset)) return;
        set_member(allowed, asset, false);
        event::emit(AssetSet::V1 { asset, allowed: false });
    }

    /// The admin stops the operations of `mask` in addition to those that are stopped.
    ///
    /// Aborts if the caller is not the admin or the mask has an unknown bit.
    public entry fun pause(admin: &signer, mask: u64) acquires Roles, Pauses {
        assert_admin(admin);
        assert_known_bits(mask);
        let old_mask = paused();
        set_paused(old_mask, old_mask | mask);
    }

    /// The admin lets the operations of `mask` run again.
    ///
    /// Aborts if the caller is not the admin or the mask has an unknown bit.
    public entry fun unpause(admin: &signer, mask: u64) acquires Roles, Pauses {
        assert_admin(admin);
        assert_known_bits(mask);
        let old_mask = paused();
        set_paused(old_mask, old_mask & (PAUSE_ALL ^ mask));
    }

    //
    // For the other modules
    //

    /// Aborts if `account` is not the admin.
    package fun assert_admin(account: &signer) acquires Roles {
        assert!(
            signer::address_of(account) == Roles[@cactus].admin,
            error::permission_denied(ENOT_ADMIN)
        );
    }

    /// Aborts if `account` is not a validator.
    package fun assert_validator(account: &signer) acquires Roles {
        assert!(is_validator(signer::address_of(account)), error::permission_denied(ENOT_VALIDATOR));
    }

    /// Aborts if `account` is not a federator.
    package fun assert_federator(account: &signer) acquires Roles {
        assert!(is_federator(signer::address_of(account)), error::permission_denied(ENOT_FEDERATOR));
    }

    /// All validators, in the order in which they were allowed.
    package fun validators(): vector<address> acquires Roles { Roles[@cactus].validators }

    /// Aborts if deposits are paused.
    package fun assert_may_deposit() acquires Pauses { assert_not_paused(PAUSE_DEPOSIT) }

    /// Aborts if new tasks are paused.
    package fun assert_may_create_task() acquires Pauses { assert_not_paused(PAUSE_CREATE_TASK) }

    /// Aborts if registrations are paused.
    package fun assert_may_register() acquires Pauses { assert_not_paused(PAUSE_REGISTER) }

    /// Aborts if new bonds are paused.
    package fun assert_may_bond() acquires Pauses { assert_not_paused(PAUSE_BOND) }

    /// Aborts if channels are paused.
    package fun assert_may_open_channel() acquires Pauses { assert_not_paused(PAUSE_CHANNEL) }

    /// Aborts if pools are paused.
    package fun assert_may_pool() acquires Pauses { assert_not_paused(PAUSE_POOL) }

    //
    // Helpers
    //

    // Whether an asset is dispatchable is fixed when it is created, and only a store of it tells.
    fun assert_not_dispatchable(asset: address) {
        let metadata = object::address_to_object<Metadata>(asset);
        let probe = fungible_asset::create_store(&object::create_object(@0x0), metadata);
        assert!(!fungible_asset::is_store_dispatchable(probe), error::invalid_argument(EDISPATCHABLE));
    }

    fun set_member(members: &mut vector<address>, account: address, allowed: bool) {
        if (allowed) {
            members.push_back(account);
        } else {
            let (_, index) = members.index_of(&account);
            members.remove(index);
        };
    }

    fun assert_known_bits(mask: u64) {
        assert!(mask & PAUSE_ALL == mask, error::invalid_argument(EUNKNOWN_PAUSE_BIT));
    }

    fun assert_not_paused(bit: u64) acquires Pauses {
        assert!(paused() & bit == 0, error::invalid_state(EPAUSED));
    }

    fun set_paused(old_mask: u64, new_mask: u64) acquires Pauses {
        Pauses[@cactus].mask = new_mask;
        event::emit(PauseChanged::V1 { old_mask, new_mask });
    }

    #[test_only]
    public fun pause_all_for_test() acquires Pauses {
        Pauses[@cactus].mask = PAUSE_ALL;
    }

    #[test_only]
    public fun init_for_test(publisher: &signer) {
        init_module(publisher)
    }
}
