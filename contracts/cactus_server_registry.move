/// Routing servers: their bond, address, key and authorisation. Decides nothing about tasks.
module cactus::server_registry {
    use std::error;
    use std::signer;
    use std::string::String;
    use aptos_framework::event;
    use aptos_framework::fungible_asset::FungibleAsset;
    use cactus::config;
    use cactus::parameters;
    use cactus::treasury;
    use cactus::vault::{Self, Vault};

    //
    // Errors
    //

    /// The server is registered already.
    const EALREADY_REGISTERED: u64 = 1;
    /// The server is not registered.
    const ENOT_REGISTERED: u64 = 2;
    /// The URL is empty or longer than 256 bytes.
    const EBAD_URL: u64 = 3;
    /// A public key must be 32 bytes.
    const EBAD_PUBLIC_KEY: u64 = 4;
    /// The bond is below the minimum.
    const EBOND_TOO_SMALL: u64 = 5;
    /// The server is not authorised.
    const ENOT_AUTHORIZED: u64 = 6;

    //
    // Constants
    //

    const MAX_URL_BYTES: u64 = 256;
    const PUBLIC_KEY_BYTES: u64 = 32;

    //
    // Structs
    //

    /// One routing server. At the server's address, for ever.
    enum Server has key {
        V1 {
            registered: bool,
            authorized: bool,
            url: String,
            public_key: vector<u8>,
            bond: u64,
            vault: Vault,
            fees_earned: u64,
        }
    }

    /// What `server` answers, amounts in octas.
    struct ServerView has copy, drop {
        registered: bool,
        url: String,
        public_key: vector<u8>,
        bond: u64,
        authorized: bool,
        fees_earned: u64,
        treasury_due: u64,
    }

    //
    // Events
    //

    #[event]
    enum ServerRegistered has drop, store {
        V1 { server: address, url: String, public_key: vector<u8>, bond: u64 }
    }

    #[event]
    enum ServerUpdated has drop, store {
        V1 { server: address, url: String, public_key: vector<u8> }
    }

    #[event]
    enum ServerRemoved has drop, store {
        V1 { server: address, bond: u64 }
    }

    #[event]
    enum ServerAuthorizationChanged has drop, store {
        V1 { server: address, authorized: bool }
    }

    //
    // Views
    //

    #[view]
    /// All about a server; `registered` is false and the rest empty if it never was registered.
    public fun server(server: address): ServerView acquires Server {
        if (!exists<Server>(server)) {
            return ServerView {
                registered: false, url: std::string::utf8(b""), public_key: vector[], bond: 0,
                authorized: false, fees_earned: 0, treasury_due: 0,
            }
        };
        let record = &Server[server];
        ServerView {
            registered: record.registered,
            url: record.url,
            public_key: record.public_key,
            bond: record.bond,
            authorized: record.authorized,
            fees_earned: record.fees_earned,
            treasury_due: treasury::due(server),
        }
    }

    #[view]
    /// What the server's bond vault really holds, in octas.
    public fun vault_balance(server: address): u64 acquires Server {
        if (exists<Server>(server)) Server[server].vault.balance() else 0
    }

    //
    // Entry functions
    //

    /// Anyone registers itself as a routing server with `bond` octas of its own. The admin must authorise it before
    /// it can create tasks.
    ///
    /// Aborts if registrations are paused, the caller is registered already, the URL is empty or longer than 256
    /// bytes, the key is not 32 bytes, the bond is below the minimum, or the caller holds less.
    public entry fun register_server(
        server: &signer, url: String, public_key: vector<u8>, bond: u64
    ) acquires Server {
        config::assert_may_register();
        assert_description(&url, &public_key);
        assert!(bond >= parameters::min_server_bond(), error::invalid_argument(EBOND_TOO_SMALL));
        let address = signer::address_of(server);
        if (!exists<Server>(address)) open(server);
        let record = &mut Server[address];
        assert!(!record.registered, error::already_exists(EALREADY_REGISTERED));
        record.vault.take_from(server, bond);
        record.registered = true;
        record.url = url;
        record.public_key = public_key;
        record.bond = bond;
        event::emit(ServerRegistered::V1 { server: address, url, public_key, bond });
    }

    /// A server changes its URL and key.
    ///
    /// Aborts if the caller is not registered, the URL is empty or too long, or the key is not 32 bytes.
    public entry fun update_server(server: &signer, url: String, public_key: vector<u8>) acquires Server {
        assert_description(&url, &public_key);
        let server = signer::address_of(server);
        let record = borrow_registered(server);
        record.url = url;
        record.public_key = public_key;
        event::emit(ServerUpdated::V1 { server, url, public_key });
    }

    /// A server leaves and gets its bond back. Its open tasks can no longer be settled; they are refunded after their
    /// deadlines. Never paused.
    ///
    /// Aborts if the caller is not registered.
    public entry fun remove_server(server: &signer) acquires Server {
        let server = signer::address_of(server);
        let record = borrow_registered(server);
        let bond = record.bond;
        record.registered = false;
        record.authorized = false;
        record.bond = 0;
        record.vault.pay(server, bond);
        event::emit(ServerRemoved::V1 { server, bond });
    }

    /// The admin lets a server create and settle tasks.
    ///
    /// Aborts if the caller is not the admin, the server is not registered, or its bond is below the minimum.
    public entry fun authorize_server(admin: &signer, server: address) acquires Server {
        config::assert_admin(admin);
        let record = borrow_registered(server);
        assert!(record.bond >= parameters::min_server_bond(), error::invalid_state(EBOND_TOO_SMALL));
        record.authorized = true;
        event::emit(ServerAuthorizationChanged::V1 { server, authorized: true });
    }

    /// The admin stops a server from creating and settling tasks.
    ///
    /// Aborts if the caller is not the admin or the server is not registered.
    public entry fun revoke_server(admin: &signer, server: address) acquires Server {
        config::assert_admin(admin);
        borrow_registered(server).authorized = false;
        event::emit(ServerAuthorizationChanged::V1 { server, authorized: false });
    }

    //
    // For the other modules
    //

    /// Whether the server may create and settle tasks.
    package fun is_authorized(server: address): bool acquires Server {
        exists<Server>(server) && Server[server].authorized
    }

    /// Aborts if the server may not create and settle tasks.
    package fun assert_authorized(server: address) acquires Server {
        assert!(is_authorized(server), error::permission_denied(ENOT_AUTHORIZED));
    }

    /// Pays a server its fee of a settlement into its primary store.
    package fun pay_fee(server: address, fee: FungibleAsset, octas: u64) acquires Server {
        Server[server].fees_earned += octas;
        vault::give(server, fee);
    }

    //
    // Helpers
    //

    fun open(server: &signer) {
        treasury::open_share(server);
        move_to(server, Server::V1 {
            registered: false,
            authorized: false,
            url: std::string::utf8(b""),
            public_key: vector[],
            bond: 0,
            vault: vault::create(),
            fees_earned: 0,
        });
    }

    inline fun borrow_registered(server: address): &mut Server {
        assert!(exists<Server>(server) && Server[server].registered, error::not_found(ENOT_REGISTERED));
        &mut Server[server]
    }

    fun assert_description(url: &String, public_key: &vector<u8>) {
        let length = url.length();
        assert!(length > 0 && length <= MAX_URL_BYTES, error::invalid_argument(EBAD_URL));
        assert!(public_key.length() == PUBLIC_KEY_BYTES, error::invalid_argument(EBAD_PUBLIC_KEY));
    }

    #[test_only]
    public fun unpack_for_test(self: ServerView): (bool, String, vector<u8>, u64, bool, u64, u64) {
        (
            self.registered, self.url, self.public_key, self.bond,
            self.authorized, self.fees_earned, self.treasury_due
        )
    }
}
